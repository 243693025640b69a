// Results as they happen: one stream of events for all jobs, and where there is none, questions.

/** Jobs that a stream may have; the oldest come first. */
const JOBS = 2000;
/** Milliseconds between new jobs and the stream that has them: after the first one, and between streams. */
const SOON = 100;
const APART = 1500;
/** Milliseconds in which a stream must begin, and be silent at most; the service speaks every ten seconds. */
const BEGIN = 8_000;
const SILENT = 35_000;
/** Seconds without streams where one has failed: first and most. */
const PAUSE = 2;
const PAUSE_MOST = 60;
/** Questions at once: of the oldest jobs, and of the others in turn. */
const OLDEST = 3;
const IN_TURN = 3;

export class Follower {
  /**
   * pending() gives the ids of the jobs without a result, oldest first;
   * told(answer) is called with a result, or a job that is still queued; unknown(id) for a job
   * that there is not; queue({position, estimate_seconds}) with the queue's length.
   */
  constructor({ pending, told, unknown, queue }) {
    Object.assign(this, { pending, told, unknown, queue });
    this.stream = null;
    this.opened = 0;
    this.timer = null;
    this.failures = 0;
    this.asking = false;
    this.turn = 0;
  }

  /** There are jobs that there were not: follow them too. */
  changed() {
    if (this.timer || this.asking) return;
    const known = this.stream?.ids;
    if (known && this.pending().slice(0, JOBS).every((id) => known.has(id))) return;
    const wait = Math.max(SOON, this.opened + APART - Date.now());
    this.timer = setTimeout(() => {
      this.timer = null;
      this.open();
    }, wait);
  }

  async open() {
    const ids = this.pending().slice(0, JOBS);
    if (!ids.length) return;
    const before = this.stream;
    const stream = { ids: new Set(ids), abort: new AbortController(), ended: false };
    this.stream = stream;
    this.opened = Date.now();
    let pause = 0;
    try {
      pause = await this.read(stream, ids, () => before?.abort.abort());
    } catch {
      pause = null; // broken off, or no such thing here
    }
    stream.abort.abort();
    before?.abort.abort();
    if (this.stream !== stream) return; // another one has taken over
    this.stream = null;
    if (stream.ended) {
      this.failures = 0;
      this.changed();
    } else {
      this.failures += 1;
      this.ask(pause ?? Math.min(PAUSE_MOST, PAUSE * 2 ** (this.failures - 1)));
    }
  }

  /** Read to the end; gives the seconds for which the service wants no other, or null. */
  async read(stream, ids, begun) {
    let watch = setTimeout(() => stream.abort.abort(), BEGIN);
    try {
      const answer = await fetch("/v1/events", {
        method: "POST", headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
        body: JSON.stringify({ ids }), signal: stream.abort.signal, cache: "no-store",
      });
      if (!answer.ok || !answer.body) return Number(answer.headers.get("Retry-After")) || null;
      const reader = answer.body.getReader();
      const decoder = new TextDecoder();
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return null;
        clearTimeout(watch);
        watch = setTimeout(() => stream.abort.abort(), SILENT);
        begun();
        this.failures = 0;
        const events = (text + decoder.decode(value, { stream: true })).split("\n\n");
        text = events.pop();
        for (const event of events) this.hear(stream, event);
        if (stream.ended) return null;
      }
    } finally {
      clearTimeout(watch);
    }
  }

  hear(stream, event) {
    const found = /^event: (\w+)\ndata: (.*)$/.exec(event);
    if (!found) return; // a comment
    const data = JSON.parse(found[2]);
    if (found[1] === "result") this.told(data);
    else if (found[1] === "unknown") this.unknown(data.id);
    else if (found[1] === "queue" && this.stream === stream) this.queue(data);
    else if (found[1] === "end") stream.ended = true;
  }

  /** Ask for the jobs themselves, for so many seconds; then try a stream again. */
  async ask(seconds) {
    this.asking = true;
    const until = Date.now() + seconds * 1000;
    do {
      const ids = this.some();
      if (!ids.length) break;
      const waits = await Promise.all(ids.map((id) => this.look(id)));
      const moved = waits.some((wait) => wait === 0);
      await sleep(moved ? 100 : Math.min(5, Math.max(1, ...waits)) * 1000);
    } while (Date.now() < until);
    this.asking = false;
    if (this.pending().length) this.changed();
  }

  some() {
    const ids = this.pending();
    const rest = ids.slice(OLDEST);
    this.turn = rest.length ? (this.turn + IN_TURN) % rest.length : 0;
    return [...new Set([...ids.slice(0, OLDEST), ...rest.slice(this.turn, this.turn + IN_TURN)])];
  }

  /** Ask for one job; gives the seconds to wait, 0 where it has ended. */
  async look(id) {
    try {
      const answer = await fetch(`/v1/images/${id}`, { headers: { Accept: "application/json" }, cache: "no-store" });
      if (answer.status === 404) {
        this.unknown(id);
        return 0;
      }
      if (answer.ok) {
        const found = await answer.json();
        this.told(found);
        if (found.status !== "queued") return 0;
      }
      return Number(answer.headers.get("Retry-After")) || PAUSE;
    } catch {
      return PAUSE; // nobody there: the next question may find somebody
    }
  }
}

function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
