/* Dead letters: the list, and sending them back. */

import { many, when } from "./figures.js";

const LIST = "/v1/dead-letters";
/** Milliseconds: between looks while there are letters; after one that did not have them all, for
    the service gives the same look to everybody for five seconds; and for a request. */
const EVERY = 60e3;
const SOON = 6e3;
const PATIENCE = 60e3;
/** Seconds that a job which was sent back is waited for, on this page. */
const WAIT = 30;

const byId = (id) => document.getElementById(id);

function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text != null) made.textContent = text;
  return made;
}

async function ask(address, options = {}) {
  const answer = await fetch(address, { signal: AbortSignal.timeout(PATIENCE), ...options });
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(told.detail ?? `the service answered ${answer.status}`);
  return told;
}

export class Letters {
  constructor() {
    this.section = byId("letters");
    this.list = byId("letter-list");
    this.outcome = byId("outcome");
    this.empty = byId("no-letters");
    this.every = byId("redrive-all");
    this.closed = this.section.dataset.closed !== "";
    this.known = null;
    this.looked = 0;
    this.pause = SOON;
    this.busy = false;
    this.total = 0;
    this.rows = new Map();
    this.every.addEventListener("click", () => this.all());
  }

  /** The service counts so many: look when that has changed, and now and then. */
  async counted(dead) {
    if (this.closed || this.busy) return;
    const changed = dead !== this.known;
    if (changed) this.pause = SOON;
    const since = performance.now() - this.looked;
    const partly = dead !== null && dead !== this.total && since > this.pause;
    if (!changed && !partly && !(this.total && since > EVERY)) return;
    if (partly) this.pause = Math.min(EVERY, 2 * this.pause);
    this.known = dead;
    await this.look();
  }

  async look() {
    this.looked = performance.now();
    try {
      this.show(await ask(`${LIST}?limit=100`));
    } catch (error) {
      // The page says already when the service does not answer; then this is asked again.
      this.known = null;
      if (!this.list.children.length) this.tell(`The dead letters cannot be shown: ${error.message}.`);
    }
  }

  show(told) {
    this.total = told.total;
    const sent = [...this.rows].filter(([, row]) => row.dataset.sent);
    this.rows = new Map(sent);
    told.letters.forEach((letter) => this.rows.set(letter.id, this.row(letter)));
    this.list.replaceChildren(...this.rows.values());
    this.empty.hidden = this.rows.size > 0;
    this.empty.textContent = "None. What no worker can finish comes here, with the reason.";
    const jobs = told.letters.filter((letter) => letter.job).length;
    this.every.hidden = jobs === 0;
    if (told.total > told.letters.length) {
      this.list.append(element("li", "note", `The newest ${told.letters.length} of about ${told.total}.`));
    }
  }

  row(letter) {
    const row = element("li", "letter");
    const picture = element(letter.thumbnail ? "img" : "span", "thumbnail");
    if (letter.thumbnail) Object.assign(picture, { src: letter.thumbnail, alt: "", width: 72, height: 72, loading: "lazy" });
    const words = element("div", "words");
    const name = letter.image ?? "A message that is no job’s";
    words.append(element("h3", "", name), element("p", "reason", reason(letter)), element("p", "note", facts(letter)));
    row.append(picture, words);
    if (letter.job) {
      const button = element("button", "quiet-button", "Send back");
      button.type = "button";
      button.setAttribute("aria-label", `Send back ${name}`);
      button.addEventListener("click", () => this.one(letter, name, row, button));
      row.append(button);
    }
    return row;
  }

  async one(letter, name, row, button) {
    const yes = await confirmed(`Send ${name} back?`, this.consequence("It goes"));
    if (!yes) return;
    button.disabled = true;
    const told = await this.redrive({ ids: [letter.id] }, `${name}: `);
    if (told === null) {
      button.disabled = false;
      return;
    }
    const { fate } = told.outcomes[0];
    if (fate === "sent") {
      row.dataset.sent = "yes";
      button.remove();
      this.follow(letter, row);
    }
    await this.look();
  }

  async all() {
    const yes = await confirmed("Send every dead letter back?", this.consequence("They go"));
    if (!yes) return;
    this.every.disabled = true;
    const counts = {};
    let told;
    do {
      told = await this.redrive({ all: true }, "", counts);
    } while (told !== null && told.more && told.counts.sent + told.counts.done > 0);
    this.every.disabled = false;
    await this.look();
  }

  consequence(begin) {
    return `${begin} to the queue again, for up to ${many(Number(this.section.dataset.receives), "attempt")}, and the failure that stands there now is removed. What broke a worker may break it again: mend the cause first.`;
  }

  /** What became of it is told in words; null: nobody knows. */
  async redrive(wish, before, counts = {}) {
    this.busy = true;
    this.tell("Sending …");
    try {
      const told = await ask(`${LIST}/redrive`, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(wish),
      });
      Object.entries(told.counts).forEach(([fate, number]) => { counts[fate] = (counts[fate] ?? 0) + number; });
      const failed = told.outcomes.find((outcome) => outcome.fate === "failed");
      this.tell(before + words(counts) + (failed ? ` (${failed.message})` : ""));
      return told;
    } catch (error) {
      this.tell(`${before}not known whether it was sent (${error.message}). It can be sent again without harm.`);
      return null;
    } finally {
      this.busy = false;
    }
  }

  /** What the job comes to, where it comes soon. */
  async follow(letter, row) {
    const say = (text) => { row.querySelector(".reason").textContent = text; };
    say("In the queue again");
    try {
      const until = performance.now() + 4 * WAIT * 1e3;
      let result;
      do {
        result = await ask(`/v1/images/${letter.id}`, { headers: { Prefer: `wait=${WAIT}` } });
      } while (result.status === "queued" && performance.now() < until);
      if (result.status === "done") say(`Recognised: ${result.label}`);
      else if (result.status === "failed") say(`Failed again: ${result.error.message}`);
      row.dataset.outcome = result.status;
    } catch {
      say("In the queue again; the service has not said what became of it");
    }
  }

  tell(text) {
    this.outcome.textContent = text;
  }
}

function reason(letter) {
  if (letter.error) return `${letter.error.message[0].toUpperCase()}${letter.error.message.slice(1)}`;
  if (letter.status === "done") return "It has its label; only its message is left";
  if (letter.status === "cancelled") return "It was cancelled; only its message is left";
  return letter.job ? "No failure is written for it so far" : "No task of this service can be read from it";
}

function facts(letter) {
  const moment = letter.finished ?? letter.received ?? letter.sent;
  const parts = [when(new Date(moment))];
  if (letter.attempts) parts.push(many(letter.attempts, "attempt"));
  if (letter.error) parts.push(letter.error.code);
  return parts.join(" · ");
}

/** `3 sent back to the queue; 1 had its label already`. */
function words(counts) {
  const said = [
    [counts.sent, "sent back to the queue"], [counts.done, "done already, and cleared away"],
    [counts.foreign, "no job’s, and left"], [counts.absent, "not there any more, or in another’s hands"],
    [counts.failed, "could not be sent, and left"],
  ].filter(([number]) => number);
  if (!said.length) return "There was none.";
  if (said.length === 1 && said[0][0] === 1) return `${said[0][1]}.`;
  return `${said.map(([number, text]) => `${number} ${text}`).join("; ")}.`;
}

/** Ask first; true for yes. */
function confirmed(title, text) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
