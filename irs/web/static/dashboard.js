/* The dashboard: one request every two seconds, the last hours once and then a minute at a time. */

import { Charts, columns } from "./charts.js";
import { STATES, facts, instanceNote } from "./facts.js";
import { clock, seconds, when } from "./figures.js";
import { Letters } from "./letters.js";

/** Milliseconds: between looks, for one, and between looks at the history; sooner where the
    scaler has done something, which it tells there. */
const EVERY = 2000;
const PATIENCE = 8000;
const MINUTE = 60e3;
const SOON = 10e3;
/** Hours that are kept: the longest range. */
const KEPT = 24;

const byId = (id) => document.getElementById(id);
const svg = (tag) => document.createElementNS("http://www.w3.org/2000/svg", tag);

class Dashboard {
  constructor() {
    this.priced = byId("tiles").dataset.priced !== "";
    this.letters = new Letters();
    this.charts = new Charts(byId("charts"));
    this.stats = null;
    /** When the service answered last, and since when it does not; why. */
    this.answered = null;
    this.lost = null;
    this.why = "";
    this.points = new Map();
    this.decisions = [];
    this.step = 60;
    this.history = 0;
    /** Hours that it goes back. */
    this.reach = 0;
    this.fleetNow = this.fleetThen = null;
    this.timer = null;
    this.running = this.looking = false;
    byId("no-history").hidden = true;
    this.ranges();
    document.addEventListener("visibilitychange", () => (document.hidden ? this.rest() : this.wake()));
    setInterval(() => this.state(), 1000);
    if (document.hidden) this.rest();
    else this.wake();
  }

  // -- the range -------------------------------------------------------------------------------
  ranges() {
    const field = byId("ranges");
    field.disabled = false;
    const asked = new URLSearchParams(location.search).get("range");
    const found = field.querySelector(`input[value="${Number(asked)}"]`);
    if (found) found.checked = true;
    field.addEventListener("change", () => {
      history.replaceState(null, "", `?range=${this.hours}`);
      this.draw();
      if (this.hours > this.reach) this.recall();
    });
  }

  get hours() {
    return Number(byId("ranges").querySelector("input:checked").value);
  }

  // -- the loop --------------------------------------------------------------------------------
  wake() {
    if (this.running) return;
    this.running = true;
    if (!this.looking) this.turn();
  }

  rest() {
    this.running = false;
    clearTimeout(this.timer);
    this.state();
  }

  async turn() {
    clearTimeout(this.timer);
    this.looking = true;
    try {
      this.stats = await this.ask("/v1/stats");
      this.answered = new Date();
      this.lost = null;
      if (Date.now() - this.history > (this.acted() ? SOON : MINUTE)) await this.recall();
      this.show();
      this.letters.counted(this.stats.queue.dead ?? null);
    } catch (error) {
      this.lost ??= new Date();
      this.why = error.message;
    }
    this.looking = false;
    this.state();
    if (this.running) this.timer = setTimeout(() => this.turn(), EVERY);
  }

  /** Whether the fleet is another than when the history was asked for. */
  acted() {
    const { fleet } = this.stats;
    const now = fleet && [fleet.reason, ...fleet.instances.map((one) => one.id + one.state)].join();
    this.fleetNow = now;
    return now !== this.fleetThen;
  }

  async ask(address) {
    let answer;
    try {
      answer = await fetch(address, { signal: AbortSignal.timeout(PATIENCE), cache: "no-store" });
    } catch {
      throw new Error("The service does not answer");
    }
    if (answer.status === 401 || answer.status === 403) throw new Error("The service wants a key: reload the page");
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(`The service says: ${told.detail ?? answer.status}`);
    return told;
  }

  /** As far as is shown at first, then what is new since. */
  async recall() {
    const { hours } = this;
    const missing = Math.ceil((Date.now() - this.history) / MINUTE) + 3;
    const minutes = hours > this.reach ? hours * 60 : Math.min(KEPT * 60, missing);
    let told;
    try {
      told = await this.ask(`/v1/stats/history?minutes=${minutes}`);
    } catch {
      return; // the facts of now are there; with the next of them it is asked again
    }
    this.history = Date.now();
    this.fleetThen = this.fleetNow;
    this.reach = Math.max(this.reach, hours);
    this.step = told.step_seconds;
    told.points.forEach((point) => this.points.set(point.at, point));
    const oldest = Date.now() - KEPT * 60 * MINUTE;
    [...this.points.keys()].forEach((at) => { if (Date.parse(at) < oldest) this.points.delete(at); });
    const seen = new Map([...told.decisions, ...this.decisions].map((one) => [one.at + one.text, one]));
    this.decisions = [...seen.values()].sort((a, b) => b.at.localeCompare(a.at)).slice(0, 50);
    this.draw();
    this.decided();
  }

  // -- what is shown ---------------------------------------------------------------------------
  show() {
    const points = [...this.points.values()].sort((a, b) => a.at.localeCompare(b.at));
    const texts = facts(this.stats, points, Date.now(), this.priced);
    document.querySelectorAll("[data-fact]").forEach((place) => {
      const text = texts[place.dataset.fact];
      if (text !== undefined && place.textContent !== text) place.textContent = text;
    });
    document.querySelectorAll(".tile").forEach((tile) => {
      tile.dataset.tone = texts[`${tile.id.slice("tile-".length)}.tone`] ?? "";
    });
    byId("budget").toggleAttribute("hidden", !texts["cost.part"]);
    byId("budget-value").setAttribute("width", texts["cost.part"] || 0);
    this.fleet(this.stats.fleet?.instances ?? [], texts["fleet.empty"]);
  }

  fleet(instances, empty) {
    const list = byId("instances");
    const order = (one) => STATES.indexOf(one.state);
    const sorted = [...instances].sort((a, b) => order(a) - order(b) || a.launched_at.localeCompare(b.launched_at));
    const there = new Map([...list.children].map((item) => [item.dataset.id, item]));
    list.replaceChildren(...sorted.map((one) => card(there.get(one.id), one)));
    byId("no-instances").hidden = instances.length > 0;
    byId("no-instances").textContent = empty;
  }

  draw() {
    const none = this.points.size === 0;
    byId("charts").hidden = none;
    byId("ranges").hidden = none;
    byId("no-history").hidden = !none;
    byId("no-history").textContent = "No figures so far. A scaler writes them down, minute by minute.";
    if (none) return;
    this.charts.show(columns([...this.points.values()], this.hours, this.step, Date.now()));
  }

  decided() {
    const list = byId("decisions");
    list.replaceChildren(...this.decisions.map((one) => {
      const item = document.createElement("li");
      const time = document.createElement("time");
      time.dateTime = one.at;
      time.textContent = when(new Date(one.at));
      const text = document.createElement("span");
      text.textContent = one.text;
      item.append(time, " ", text);
      return item;
    }));
    byId("no-decisions").hidden = this.decisions.length > 0;
  }

  /** Whether the figures are those of now. */
  state() {
    const state = byId("state");
    const text = byId("state-text");
    const alarm = byId("alarm");
    const say = (kind, words) => {
      state.dataset.state = kind;
      if (text.textContent !== words) text.textContent = words;
    };
    document.body.classList.toggle("lost", this.lost !== null);
    if (this.lost !== null) {
      say("lost", "Not live");
      const since = `since ${clock(this.lost)}`;
      const known = this.answered ? ` The figures below are of ${clock(this.answered)}.` : "";
      const words = `${this.why}, ${since}. Trying again every ${seconds(EVERY / 1000)}.${known}`;
      if (alarm.textContent !== words) alarm.textContent = words;
    } else if (!this.running) {
      say("still", "Paused");
    } else if (this.answered !== null) {
      say("live", "Live");
    }
    alarm.hidden = this.lost === null;
  }
}

/** One instance, in the element that it had before. */
function card(before, one) {
  const item = before ?? document.createElement("li");
  if (!before) {
    item.dataset.id = one.id;
    const shape = svg("svg");
    shape.setAttribute("width", "20");
    shape.setAttribute("height", "20");
    shape.setAttribute("aria-hidden", "true");
    shape.append(svg("use"));
    const words = document.createElement("div");
    words.innerHTML = '<p><b></b> <span class="name"></span></p><p class="note"></p>';
    item.append(shape, words);
  }
  item.className = `instance ${one.state}`;
  item.querySelector("use").setAttribute("href", `#shape-${one.state}`);
  item.querySelector("b").textContent = one.state[0].toUpperCase() + one.state.slice(1);
  item.querySelector(".name").textContent = one.name || one.id;
  item.querySelector(".name").title = one.id;
  item.querySelector(".note").textContent = instanceNote(one, Date.now());
  return item;
}

// For whoever looks into the page from its console, and for tests.
window.dashboard = new Dashboard();
