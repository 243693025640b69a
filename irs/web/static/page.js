// The page: files come in, are sent, followed, shown and kept. Without this script it is a plain form.

import { dropped, ofClipboard, ofFolder } from "./files.js";
import { Follower } from "./follow.js";
import { OVER, again, fail, fromFile, take } from "./item.js";
import { Keep } from "./keep.js";
import { Rows, bytes } from "./rows.js";
import { Sender } from "./send.js";
import { Tally } from "./tally.js";
import { csv, download, json } from "./table.js";
import { Thumbs } from "./thumbs.js";

/** Files of one session; more would be for a batch. */
const MOST = 2000;
/** Files that are taken in at once: to ask each for its size takes its time. */
const A_GO = 50;

const at = (id) => document.getElementById(id);
const form = at("form");
const input = form.querySelector("input[type=file]");
const maxBytes = Number(form.dataset.maxBytes);
const byId = new Map();
let items = [];
let numbers = 0;
/** Files that are being added, and times that all were removed. */
let coming = 0;
let clears = 0;

const keep = await Keep.open();
const thumbs = new Thumbs((item) => keep.save(item));
const tally = new Tally(() => items);
const rows = new Rows(at("rows"), at("row"), {
  made: (item) => {
    item.watched = true;
    thumbs.watch(item);
  },
  drawn: () => tally.draw(),
  act: (name, item) => (name === "retry" ? retry([item]) : cancel([item])),
});
const sender = new Sender(moved);
const follower = new Follower({
  pending: () => items.filter((item) => item.state === "queued" && item.id).map((item) => item.id),
  told: (answer) => {
    const item = byId.get(answer.id);
    if (!item || item.state !== "queued") return;
    if (OVER.has(answer.status)) {
      take(item, answer);
      moved(item);
    } else place(answer);
  },
  unknown: (id) => {
    const item = byId.get(id);
    if (!item || item.state !== "queued") return;
    fail(item, "unknown", "the service does not know this job any more");
    moved(item);
  },
  queue: place,
});

/** A file has changed: show it, keep it, and follow its job. */
function moved(item) {
  rows.mark(item);
  if (item.state === "uploading" && item.sent) return; // progress is for the eye alone
  keep.save(item);
  if (item.state === "queued" && item.id) {
    byId.set(item.id, item);
    follower.changed();
  }
}

/** Where a job sent now would stand; each of ours before it has those behind it that were sent later. */
function place({ position, estimate_seconds: seconds }) {
  if (position === undefined) return;
  const queued = items.filter((item) => item.state === "queued");
  queued.forEach((item, number) => {
    const was = [item.position, item.seconds].join();
    item.position = Math.max(0, position - (queued.length - 1 - number));
    item.seconds = seconds === undefined ? null : (seconds * (item.position + 1)) / (position + 1);
    if ([item.position, item.seconds].join() !== was) rows.mark(item);
  });
}

async function add(files, left = 0) {
  const room = Math.max(0, MOST - items.length - coming);
  const taken = files.slice(0, room);
  const was = clears;
  tally.added(taken.length, { left, over: files.length - taken.length, most: MOST });
  coming += taken.length;
  for (let start = 0; start < taken.length; start += A_GO) {
    if (start) await new Promise((resolve) => setTimeout(resolve));
    const some = taken.slice(start, start + A_GO);
    coming -= some.length;
    if (clears === was) takeIn(some);
  }
}

function takeIn(files) {
  const some = files.map((file) => fromFile(file, (numbers += 1)));
  for (const item of some) {
    if (item.size > maxBytes) {
      fail(item, "too_large", `${bytes(item.size)} is more than the ${bytes(maxBytes)} that an image may have`);
    }
    moved(item);
  }
  items.push(...some);
  sender.add(some.filter((item) => item.state === "waiting"));
}

function retry(some) {
  for (const item of some) {
    again(item);
    moved(item);
  }
  sender.add(some);
}

async function cancel(some) {
  const sent = [];
  for (const item of some) {
    if (item.state === "queued") sent.push(item);
    else {
      item.state = "cancelled";
      item.why = "";
      sender.drop(item);
      moved(item);
    }
  }
  // A few at a time, as uploads are.
  const one = async () => {
    for (let item = sent.pop(); item; item = sent.pop()) await withdraw(item);
  };
  await Promise.all([one(), one(), one()]);
}

async function withdraw(item) {
  try {
    const answer = await fetch(`/v1/images/${item.id}`, { method: "DELETE", headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(String(answer.status));
    const result = await answer.json();
    if (item.state === "queued") take(item, result); // what it came to, which may be done
  } catch {
    item.why = "it could not be cancelled: try again";
  }
  moved(item);
}

function clear() {
  const gone = items;
  clears += 1;
  items = [];
  byId.clear();
  for (const item of gone) {
    sender.drop(item);
    if (item.state !== "done") item.state = "cancelled";
    if (item.row) thumbs.forget(item);
    rows.remove(item);
  }
  keep.remove(gone);
  tally.draw();
  input.focus();
}

// -- what people do -----------------------------------------------------------------------------
document.documentElement.classList.add("scripted");
input.required = false;
form.addEventListener("submit", (event) => event.preventDefault());
input.addEventListener("change", () => {
  add([...input.files]);
  input.value = "";
});
const folder = at("folder-input");
at("folder").addEventListener("click", () => folder.click());
folder.addEventListener("change", () => {
  const { files, left } = ofFolder(folder.files);
  add(files, left);
  folder.value = "";
});

let depth = 0; // of elements that something is dragged over
const carries = (event) => event.dataTransfer?.types.includes("Files");
const dragging = (change) => {
  depth = Math.max(0, depth + change);
  form.classList.toggle("dragging", depth > 0);
};
addEventListener("dragenter", (event) => carries(event) && dragging(1));
addEventListener("dragleave", (event) => carries(event) && dragging(-1));
addEventListener("dragover", (event) => carries(event) && event.preventDefault());
addEventListener("drop", async (event) => {
  if (!carries(event)) return;
  event.preventDefault();
  dragging(-depth);
  const { files, left } = await dropped(event.dataTransfer);
  add(files, left);
});
addEventListener("paste", (event) => {
  const files = ofClipboard(event.clipboardData);
  if (files.length) add(files);
});

const named = (ending) => `recognised-${new Date().toISOString().slice(0, 16).replace(/[:T]/g, "-")}.${ending}`;
at("csv").addEventListener("click", () => download(csv(items), "text/csv;charset=utf-8", named("csv")));
at("json").addEventListener("click", () => download(json(items), "application/json", named("json")));
at("retry-all").addEventListener("click", () => retry(items.filter((item) => item.state === "failed" && item.file)));
at("stop").addEventListener("click", () => cancel(items.filter((item) => !OVER.has(item.state))));
at("clear").addEventListener("click", clear);
addEventListener("pagehide", () => keep.flush());
addEventListener("beforeunload", (event) => {
  // What has been sent goes on without the page; what has not is lost with it.
  if (items.some((item) => item.state === "waiting" || item.state === "uploading")) event.preventDefault();
});

// -- what the tab had before a reload -----------------------------------------------------------
const before = await keep.load().catch(() => []);
items = [...before, ...items];
numbers = Math.max(numbers, ...items.map((item) => item.number));
for (const item of before) {
  if (item.id) byId.set(item.id, item);
  rows.mark(item);
}
follower.changed();
tally.draw();
at("kept").hidden = !keep.works;
document.documentElement.classList.add("ready");
