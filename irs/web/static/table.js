// All results as a file: CSV with the columns of the service's own tables, or JSON as POST /upload answers.

const COLUMNS = ["number", "id", "image", "source", "status", "label", "confidence", "error", "message"];

export function csv(items) {
  const rows = items.map((item, number) => [
    number, item.id ?? "", item.name, "", item.state, item.result?.label ?? "",
    item.result?.predictions?.[0].confidence ?? "", item.error?.code ?? "", item.error?.message ?? "",
  ]);
  return [COLUMNS, ...rows].map((row) => row.map(cell).join(",") + "\r\n").join("");
}

/** As RFC 4180 has it. What a spreadsheet would take for a formula is made text, as irs/domain/cells.py does. */
function cell(value) {
  let text = String(value);
  if (/^'*[=+\-@\t\r\n]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function json(items) {
  return JSON.stringify({ results: items.map(told) }, null, 1) + "\n";
}

function told(item) {
  if (item.result?.schema) return item.result;
  return {
    ...(item.id ? { id: item.id } : {}), image: item.name, status: item.state,
    ...(item.error ? { error: item.error } : {}),
  };
}

export function download(text, type, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
