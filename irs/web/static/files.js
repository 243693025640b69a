// Files out of what people do: choosing, dropping folders, pasting.

/** Endings of what is worth sending out of a folder; a file that was chosen by itself always is. */
const PICTURE = /\.(jpe?g|jfif|png|gif|webp|bmp|tiff?|avif|mpo)$/i;
let pasted = 0;

/** Everything that was dropped: {files, left}, left being those of folders that are no pictures. */
export async function dropped(transfer) {
  // In one go, as the list is empty after the event.
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry?.());
  if (!entries.some((entry) => entry?.isDirectory)) return { files: [...transfer.files], left: 0 };
  const found = { files: [], left: 0 };
  for (const entry of entries) if (entry) await walk(entry, found, false);
  return found;
}

/** What a folder's chooser gave. */
export function ofFolder(list) {
  const found = { files: [], left: 0 };
  for (const file of list) add(file, file.webkitRelativePath, found);
  return found;
}

/** Pictures of the clipboard, which have no names of their own. */
export function ofClipboard(transfer) {
  return Array.from(transfer?.files ?? [], (file) => {
    if (file.name && !/^image\.\w+$/.test(file.name)) return file;
    pasted += 1;
    return new File([file], `pasted-${pasted}.${file.type.split("/")[1] || "png"}`, { type: file.type });
  });
}

async function walk(entry, found, inside) {
  if (entry.isFile) {
    const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
    if (!file) found.left += 1;
    else if (inside) add(file, entry.fullPath.replace(/^\//, ""), found);
    else found.files.push(file);
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // At most a hundred at a time, until there are none.
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!some.length) return;
    for (const child of some) await walk(child, found, true);
  }
}

function add(file, path, found) {
  if (file.name.startsWith(".") || !(file.type.startsWith("image/") || PICTURE.test(file.name))) {
    found.left += 1;
    return;
  }
  file.path = path || file.name;
  found.files.push(file);
}
