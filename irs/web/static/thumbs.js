// Small pictures of the files, made a few at a time: those that can be seen first.

/** Pictures that are made at once; the browser decodes beside the page. */
const AT_ONCE = 2;
/** Pixels of a picture's sides. */
const SIDE = 192;
/** How near to the window a row has its picture shown. */
const NEAR = "2000px";

export class Thumbs {
  /** `made(item)` is called with each file whose picture is ready. */
  constructor(made) {
    this.made = made;
    this.near = new Set();
    this.waiting = new Set();
    this.busy = 0;
    this.items = new WeakMap();
    this.eye = new IntersectionObserver((entries) => {
      for (const entry of entries) this.seen(this.items.get(entry.target), entry.isIntersecting);
    }, { rootMargin: NEAR });
  }

  /** Look after a row that was just made. */
  watch(item) {
    this.items.set(item.row, item);
    this.eye.observe(item.row);
    if (!item.thumb && item.file) this.waiting.add(item);
    this.pump();
  }

  forget(item) {
    this.eye.unobserve(item.row);
    this.seen(item, false);
    this.waiting.delete(item);
  }

  seen(item, near) {
    if (near) this.near.add(item);
    else this.near.delete(item);
    this.show(item);
  }

  /** Near rows have their picture; the others give its address back. */
  show(item) {
    const image = item.row.querySelector("img");
    if (this.near.has(item) && item.thumb) {
      if (image.src) return;
      image.src = URL.createObjectURL(item.thumb);
      image.hidden = false;
    } else if (image.src) {
      URL.revokeObjectURL(image.src);
      image.removeAttribute("src");
      image.hidden = true;
    }
  }

  pump() {
    while (this.busy < AT_ONCE && this.waiting.size) {
      const item = this.next();
      this.waiting.delete(item);
      this.busy += 1;
      draw(item.file).then((thumb) => {
        item.thumb = thumb;
        this.show(item);
        this.made(item);
      }, () => {
        // A format that this browser does not show: the service may know it all the same.
      }).finally(() => {
        this.busy -= 1;
        this.pump();
      });
    }
  }

  next() {
    for (const item of this.near) if (this.waiting.has(item)) return item;
    return this.waiting.values().next().value;
  }
}

/** A square out of the middle, as a small JPEG. */
async function draw(file) {
  const bitmap = await createImageBitmap(file, { resizeHeight: SIDE, resizeQuality: "medium" });
  try {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = SIDE;
    const scale = Math.max(SIDE / bitmap.width, SIDE / bitmap.height);
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    const brush = canvas.getContext("2d");
    brush.fillStyle = "#fff"; // what is transparent is not black in a JPEG
    brush.fillRect(0, 0, SIDE, SIDE);
    brush.drawImage(bitmap, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
    return await new Promise((resolve, reject) => {
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no picture"))), "image/jpeg", 0.75);
    });
  } finally {
    bitmap.close();
  }
}
