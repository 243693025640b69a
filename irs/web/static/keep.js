// What outlives a reload: this tab's files and results, in the browser and nowhere else.

import { fromRecord, random, toRecord } from "./item.js";

/** Milliseconds after which what a closed tab has left is removed. */
const OLD = 24 * 3600 * 1000;
/** Milliseconds for which changes are gathered; files of one go, so that the page need not stop for it. */
const GATHER = 100;
const A_GO = 50;

export class Keep {
  /** Resolves to one that works, or, where the browser keeps nothing, to one that does nothing. */
  static async open() {
    const keep = new Keep();
    try {
      keep.session = sessionStorage.getItem("irs") || random();
      sessionStorage.setItem("irs", keep.session);
      const request = indexedDB.open("irs", 1);
      request.onupgradeneeded = () => {
        const files = request.result.createObjectStore("files", { keyPath: "key" });
        files.createIndex("session", "session");
        files.createIndex("at", "at");
      };
      keep.database = await done(request);
      // Its user has removed what sites have stored.
      keep.database.onclose = () => keep.forget();
    } catch {
      keep.forget(); // private windows of some browsers: the page works, and forgets
    }
    return keep;
  }

  constructor() {
    this.database = null;
    this.changed = new Map();
    this.timer = null;
  }

  get works() {
    return Boolean(this.database);
  }

  /** From now on nothing is kept. */
  forget() {
    this.database = null;
    this.changed.clear();
  }

  /** The files of this tab, in their order; what others left long ago is removed. */
  async load() {
    if (!this.works) return [];
    const files = this.database.transaction("files", "readwrite").objectStore("files");
    const found = await done(files.index("session").getAll(this.session));
    const old = files.index("at").openCursor(IDBKeyRange.upperBound(Date.now() - OLD));
    old.onsuccess = () => {
      if (!old.result) return;
      if (old.result.value.session !== this.session) old.result.delete();
      old.result.continue();
    };
    return found.sort((one, other) => one.number - other.number).map(fromRecord);
  }

  /** Keep a file as it is now, in a moment. */
  save(item) {
    if (!this.works) return;
    this.changed.set(item.key, item);
    this.timer ??= setTimeout(() => this.flush(A_GO), GATHER);
  }

  remove(items) {
    if (!this.works) return;
    for (const item of items) this.changed.set(item.key, null);
    this.flush();
  }

  /** Write so many of the changes, the rest in a moment; all of them where the page is left. */
  flush(most = Infinity) {
    clearTimeout(this.timer);
    this.timer = null;
    if (!this.works || !this.changed.size) return;
    let files;
    try {
      files = this.database.transaction("files", "readwrite").objectStore("files");
    } catch {
      this.forget(); // it is being closed
      return;
    }
    let room = most;
    for (const [key, item] of this.changed) {
      if (room === 0) break;
      room -= 1;
      this.changed.delete(key);
      if (item) files.put(toRecord(item, this.session));
      else files.delete(key);
    }
    if (this.changed.size) this.timer = setTimeout(() => this.flush(A_GO), GATHER);
  }
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
