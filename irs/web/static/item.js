// One file of the page: what it is, where it stands, and what of it outlives a reload.

/** Of this page, until it is left: its files' keys begin so. */
const PAGE = random();

/** States that a file does not leave by itself. */
export const OVER = new Set(["done", "failed", "cancelled"]);

/** 128 random bits in hex. crypto.randomUUID would want a secure context. */
export function random() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * A file that was just added.
 *
 * state: waiting (to be sent), uploading, queued (also while it is classified), done, failed, cancelled.
 * key: names it in the store; idempotency: of its upload, so that a repeat is the same job, and made
 * when it is first sent.
 * sent: the part of it that has gone out, 0 to 1. position, seconds: place and estimate, where known.
 * result: the API's, once there is one. error: {code, message}. why: what it waits for, in words.
 */
export function fromFile(file, number) {
  return {
    key: `${PAGE}-${number}`, idempotency: null, number, file, name: file.name, path: file.path || file.name,
    size: file.size, state: "waiting", sent: 0, id: null, position: null, seconds: null,
    result: null, error: null, why: "", thumb: null, row: null,
  };
}

/** What the store keeps of it: everything but the file and the page's own objects. */
export function toRecord(item, session) {
  const { key, idempotency, number, name, path, size, state, id, result, error, thumb } = item;
  return { key, idempotency, number, name, path, size, state, id, result, error, thumb, session, at: Date.now() };
}

/** The file after a reload. What had not been sent is lost with the page, and says so. */
export function fromRecord(record) {
  const item = { ...record, file: null, sent: 1, position: null, seconds: null, why: "", row: null };
  if (item.state === "waiting" || item.state === "uploading") {
    fail(item, "interrupted", "the page was left before this was sent: choose it again");
  }
  return item;
}

/** End it with an error in words. */
export function fail(item, code, message) {
  item.state = "failed";
  item.error = { code, message };
  item.why = "";
}

/** Take what the API said of its job: a result, or that it is queued. */
export function take(item, answer) {
  item.id = answer.id || item.id;
  item.why = "";
  if (!OVER.has(answer.status)) {
    item.state = "queued";
    item.position = answer.position ?? null;
    item.seconds = answer.estimate_seconds ?? null;
    return;
  }
  item.state = answer.status;
  item.result = answer;
  item.error = answer.error || null;
}

/** Make it ready to be sent once more: another job where the last one has ended, else the same. */
export function again(item) {
  if (item.result || item.state === "cancelled") {
    item.idempotency = null;
    item.id = null;
  }
  Object.assign(item, { state: "waiting", sent: 0, result: null, error: null, why: "", position: null, seconds: null });
}
