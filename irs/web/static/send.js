// Uploads, a few at once, each repeated where that may help.

import { fail, random, take } from "./item.js";

/** Uploads at once. A browser opens six connections to a server; one is the events', one is spare. */
export const AT_ONCE = 4;
/** Tries of one file where nobody answers, and seconds between them. */
const TRIES = 4;
const PAUSES = [1, 3, 8];
/** Milliseconds without any progress after which an upload is taken for dead. */
const SILENCE = 90_000;
/** Seconds to wait where the service is busy and does not say for how long; and the longest pause. */
const BUSY = 5;
const LONGEST = 120;

export class Sender {
  /** `changed(item)` is called whenever a file's state or progress has changed. */
  constructor(changed) {
    this.changed = changed;
    this.queue = [];
    this.active = new Map();
    this.until = 0;
    this.timer = null;
  }

  add(items) {
    this.queue.push(...items);
    this.pump();
  }

  /** Forget a file that has not been sent; true where it had neither been sent nor begun to be. */
  drop(item) {
    const request = this.active.get(item);
    if (request) {
      request.abort();
      return true;
    }
    const place = this.queue.indexOf(item);
    if (place >= 0) this.queue.splice(place, 1);
    return place >= 0;
  }

  pump() {
    const wait = this.until - Date.now();
    if (wait > 0) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.pump(), wait);
      return;
    }
    while (this.active.size < AT_ONCE && this.queue.length) this.send(this.queue.shift());
  }

  send(item) {
    item.idempotency ??= random();
    const request = new XMLHttpRequest(); // fetch does not tell how much has gone out
    this.active.set(item, request);
    request.open("POST", `/v1/images?name=${encodeURIComponent(item.name.toWellFormed?.() ?? item.name)}`);
    request.setRequestHeader("Content-Type", item.file.type.startsWith("image/") ? item.file.type : "application/octet-stream");
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("Idempotency-Key", item.idempotency);
    let watch;
    const alive = () => {
      clearTimeout(watch);
      watch = setTimeout(() => request.abort(), SILENCE);
    };
    request.upload.onprogress = (event) => {
      alive();
      item.sent = event.total ? event.loaded / event.total : 0;
      this.changed(item);
    };
    request.onloadend = () => {
      clearTimeout(watch);
      this.active.delete(item);
      this.settle(item, request).finally(() => this.pump());
    };
    item.state = "uploading";
    item.why = "";
    item.sent = 0;
    alive();
    request.send(item.file);
    this.changed(item);
  }

  async settle(item, request) {
    if (item.state !== "uploading") return; // cancelled meanwhile
    const { status } = request;
    const answer = parsed(request.responseText);
    if (status === 200 || status === 202) {
      item.tries = 0;
      item.sent = 1;
      take(item, answer);
    } else if (status === 504 && answer.id) {
      take(item, { id: answer.id, status: "queued" });
    } else if (status === 410) {
      take(item, { id: answer.id, status: "cancelled" });
    } else if (status === 429 || status === 503) {
      this.later(item, Number(request.getResponseHeader("Retry-After")) || BUSY, answer.detail || "the service is busy");
    } else if (status >= 400 && status < 500) {
      fail(item, answer.code || String(status), status === 401 ? "an API key is wanted: reload the page and enter it" : answer.detail || `the service refused it (${status})`);
    } else {
      await this.unanswered(item, status);
    }
    this.changed(item);
  }

  /** The service is busy: nothing is sent before it says so, this file first. */
  later(item, seconds, why) {
    this.until = Math.max(this.until, Date.now() + Math.min(seconds, LONGEST) * 1000);
    item.state = "waiting";
    item.why = `${why}; sent again in ${Math.round(seconds)} s`;
    this.queue.unshift(item);
  }

  /** No answer, or one that makes no sense: the job may be there, and its key finds it again. */
  async unanswered(item, status) {
    try {
      await item.file.slice(0, 1).arrayBuffer();
    } catch {
      fail(item, "unreadable", "the file cannot be read any more: was it moved or changed?");
      return;
    }
    item.tries = (item.tries || 0) + 1;
    if (item.state !== "uploading") return;
    if (item.tries >= TRIES) {
      item.tries = 0;
      fail(item, "no_answer", status ? `the service failed (${status}): try again` : "the service cannot be reached: try again");
      return;
    }
    this.later(item, PAUSES[item.tries - 1], status ? `the service failed (${status})` : "the service cannot be reached");
  }
}

function parsed(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}
