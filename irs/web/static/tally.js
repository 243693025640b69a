// All files together: one bar, one line, and now and then a word to who listens.

/** Milliseconds between two announcements: who listens to them wants to hear other things too. */
const APART = 8000;

export class Tally {
  /** items() gives the files. */
  constructor(items) {
    this.items = items;
    this.section = document.getElementById("session");
    this.line = document.getElementById("tally");
    this.bar = document.getElementById("overall");
    this.status = document.getElementById("said");
    this.note = document.getElementById("note");
    this.buttons = Object.fromEntries(["retry-all", "stop", "csv", "json", "clear"].map((id) => [id, document.getElementById(id)]));
    this.said = 0;
    this.timer = null;
    this.over = true;
  }

  count() {
    const found = { all: 0, waiting: 0, uploading: 0, queued: 0, done: 0, failed: 0, cancelled: 0, again: 0, progress: 0 };
    for (const item of this.items()) {
      found.all += 1;
      found[item.state] += 1;
      found.again += item.state === "failed" && item.file ? 1 : 0;
      // Sending is half of the way, and the rest comes at once.
      found.progress += item.state === "waiting" ? 0 : item.state === "uploading" ? item.sent / 2 : item.state === "queued" ? 0.5 : 1;
    }
    found.going = found.waiting + found.uploading + found.queued;
    return found;
  }

  draw() {
    const found = this.count();
    this.section.hidden = !found.all;
    document.documentElement.classList.toggle("busy", found.all > 0);
    if (!found.all) this.note.hidden = true;
    this.bar.value = found.all ? found.progress / found.all : 0;
    this.bar.hidden = !found.going;
    const line = sentence(found);
    if (this.line.textContent !== line) this.line.textContent = line;
    this.button("retry-all", found.again > 0, `Retry ${found.again} failed`);
    this.button("stop", found.going > 0);
    this.button("csv", found.all > found.going);
    this.button("json", found.all > found.going);
    this.button("clear", !found.going);
    if (found.going) this.over = false;
    else if (!this.over) {
      this.over = true;
      this.say(`${end(found)}.`, true);
    }
    if (found.going && found.done + found.failed) this.say(`${found.done + found.failed + found.cancelled} of ${found.all} done${failures(found)}.`);
  }

  /** A button that has nothing to do is not there; the focus does not vanish with it. */
  button(name, shown, text) {
    const button = this.buttons[name];
    if (text && button.textContent !== text) button.textContent = text;
    if (button.hidden === !shown) return;
    const focused = document.activeElement === button;
    button.hidden = !shown;
    if (focused && !shown) this.section.querySelector("h2").focus();
  }

  /** Files have come in, and some perhaps not. */
  added(count, { left, over, most }) {
    const notes = [];
    if (left) notes.push(`${left} ${left === 1 ? "file of the folder is no picture and was" : "files of the folder are no pictures and were"} left out.`);
    if (over > 0) notes.push(`${over} left out: the page has room for ${most}. Send a batch, or clear it first.`);
    this.note.textContent = notes.join(" ");
    this.note.hidden = !notes.length;
    this.say(`${count} ${count === 1 ? "photograph" : "photographs"} added. ${notes.join(" ")}`, true);
  }

  /** Announce it: at once where it matters, else when some seconds have passed. */
  say(text, now = false) {
    clearTimeout(this.timer);
    const wait = now ? 0 : this.said + APART - Date.now();
    const speak = () => {
      this.said = Date.now();
      this.status.textContent = text.trim();
    };
    if (wait <= 0) speak();
    else this.timer = setTimeout(speak, wait);
  }
}

function failures({ failed }) {
  return failed ? `, ${failed} failed` : "";
}

function end(found) {
  const done = found.done === found.all ? (found.all === 1 ? "Recognised" : `All ${found.all} recognised`) : `${found.done} of ${found.all} recognised`;
  return done + failures(found) + (found.cancelled ? `, ${found.cancelled} cancelled` : "");
}

function sentence(found) {
  if (!found.going) return end(found);
  const parts = [
    `${found.done} of ${found.all} recognised`,
    found.failed && `${found.failed} failed`, found.queued && `${found.queued} in the queue`,
    found.uploading && `${found.uploading} being sent`, found.waiting && `${found.waiting} to be sent`,
  ];
  return parts.filter(Boolean).join(" · ");
}
