// The list: one row a file, drawn at the next frame, and never more rows at once than fit in one.

/** Rows that are made or drawn anew in one frame; a frame has 16 ms, a row takes a tenth of one. */
const A_FRAME = 25;

const TITLES = {
  waiting: "Waiting to be sent", uploading: "Sending", queued: "In the queue", classifying: "Being classified, or next",
  failed: "Not recognised", cancelled: "Cancelled",
};

export class Rows {
  /**
   * list: the <ol>; template: its row. made(item): a row is there; drawn(): a frame was drawn;
   * act(name, item): a button of a row was pressed.
   */
  constructor(list, template, { made, drawn, act }) {
    Object.assign(this, { list, template, made, drawn });
    this.dirty = new Set();
    this.frame = 0;
    list.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) act(button.dataset.act, button.closest("li").item);
    });
  }

  /** Draw a file at the next frame that has room. */
  mark(item) {
    this.dirty.add(item);
    this.frame ||= requestAnimationFrame(() => this.draw());
  }

  remove(item) {
    this.dirty.delete(item);
    item.row?.remove();
    item.row = null;
  }

  draw() {
    this.frame = 0;
    const some = [];
    for (const item of this.dirty) if (some.push(item) >= A_FRAME) break;
    const added = document.createDocumentFragment();
    for (const item of some) {
      this.dirty.delete(item);
      if (!item.row) added.append(this.make(item));
      fill(item);
    }
    this.list.append(added);
    for (const item of some) if (!item.watched) this.made(item);
    if (this.dirty.size) this.frame = requestAnimationFrame(() => this.draw());
    this.drawn();
  }

  make(item) {
    const row = this.template.content.firstElementChild.cloneNode(true);
    row.item = item;
    item.row = row;
    part(row, "file").textContent = item.path;
    part(row, "file").title = item.path;
    return row;
  }
}

function part(row, name) {
  return row.querySelector(`.${name}`);
}

/** Where a file stands, as the row says it: that of a job in the queue tells whether its turn has come. */
function look(item) {
  return item.state === "queued" && item.position === 0 ? "classifying" : item.state;
}

function fill(item) {
  const { row } = item;
  const state = look(item);
  const focused = row.contains(document.activeElement) && document.activeElement !== row;
  if (row.dataset.state !== state) {
    row.dataset.state = state;
    part(row, "title").textContent = item.result?.label ?? TITLES[state];
    buttons(row, item);
    guesses(row, item);
    if (focused && !row.contains(document.activeElement)) row.focus();
  }
  const said = words(item, state);
  if (part(row, "why").textContent !== said) part(row, "why").textContent = said;
  meter(row, item, state);
}

function words(item, state) {
  if (state === "failed") return sentence(item.error?.message || "the service failed");
  if (state === "uploading") return `${Math.round(item.sent * 100)} % of ${bytes(item.size)}`;
  if (state === "waiting") return sentence(item.why);
  if (state === "queued") return sentence(item.why || place(item));
  return sentence(item.why);
}

function place(item) {
  const where = item.position ? `about ${item.position} in line` : "";
  const when = item.seconds !== null ? `about ${duration(item.seconds)}` : "";
  return [where, when].filter(Boolean).join(", ");
}

/** Sending is measured; what comes after it is not, and the bar says so by going to and fro. */
function meter(row, item, state) {
  const bar = part(row, "meter");
  bar.hidden = item.state === "done" || item.state === "failed" || item.state === "cancelled";
  if (state === "uploading") bar.value = item.sent;
  else if (state === "waiting") bar.value = 0;
  else bar.removeAttribute("value");
}

function guesses(row, item) {
  const list = part(row, "guesses");
  const found = item.result?.predictions ?? [];
  list.hidden = !found.length;
  list.replaceChildren(...found.map((guess) => {
    const line = document.createElement("li");
    const [name, bar, number] = ["name", "bar", "number"].map((kind) => {
      const span = document.createElement("span");
      span.className = kind;
      line.append(span);
      return span;
    });
    name.textContent = guess.label;
    number.textContent = percent(guess.confidence);
    const value = bar.appendChild(document.createElement("span"));
    value.style.width = `${Math.max(guess.confidence * 100, 0.6)}%`;
    return line;
  }));
}

function buttons(row, item) {
  const again = Boolean(item.file) && (item.state === "failed" || item.state === "cancelled");
  const going = item.state === "waiting" || item.state === "uploading" || item.state === "queued";
  const wanted = again ? ["retry", item.state === "failed" ? "Retry" : "Send again"] : going ? ["cancel", "Cancel"] : null;
  const place = part(row, "acts");
  if (!wanted) {
    place.replaceChildren();
    return;
  }
  const button = place.firstElementChild ?? place.appendChild(document.createElement("button"));
  button.type = "button";
  button.className = "small";
  button.dataset.act = wanted[0];
  button.textContent = wanted[1];
  button.setAttribute("aria-label", `${wanted[1]}: ${item.path}`);
}

function percent(share) {
  return share >= 0.0005 ? `${(share * 100).toFixed(1)} %` : "< 0.1 %";
}

export function bytes(count) {
  if (count < 1e6) return `${Math.max(1, Math.round(count / 1e3))} kB`;
  return `${(count / 1e6).toFixed(1)} MB`;
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return `${Math.round(seconds / 60)} min`;
}

function sentence(text) {
  return text && text[0].toUpperCase() + text.slice(1);
}
