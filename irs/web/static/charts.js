/* The last hours as charts: uPlot draws, the legend and the table are ours. */

import { SECONDS, UNKNOWN, count, dollars, dollarsBy, minute, seconds, secondsBy, when } from "./figures.js";

/** Rows of a table at most: each is so many minutes. */
const ROWS = 36;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Steps of an axis of counts. */
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6];

/** One entry a chart; a series is [field, words, colour, style]. */
const CHARTS = [
  { title: "Queue", unit: "images", show: count, whole: true, series: [
    ["visible", "waiting", "--accent", "area"], ["in_flight", "in hand", "--blue", "dash"]] },
  { title: "Throughput", unit: "images a minute", show: count, whole: true, series: [
    ["images", "finished", "--accent", "bars"], ["failed", "without a label", "--bad", "bars"]] },
  { title: "Wait", unit: "seconds", show: seconds, tick: secondsBy, steps: SECONDS, series: [
    ["wait_p50", "median", "--accent", "line"], ["wait_p95", "95th percentile", "--violet", "dash"],
    ["oldest_seconds", "oldest in the queue", "--warn", "dots"]] },
  { title: "Inference", unit: "seconds", show: seconds, tick: secondsBy, steps: SECONDS, series: [
    ["infer_p50", "median", "--accent", "line"], ["infer_p95", "95th percentile", "--violet", "dash"]] },
  { title: "Instances", unit: "instances", show: count, whole: true, stacked: true, series: [
    ["busy", "busy", "--accent", "step"], ["idle", "idle", "--blue", "step"],
    ["booting", "booting", "--warn", "step"], ["draining", "draining", "--violet", "step"]] },
  { title: "Cost", unit: "dollars a minute", show: dollars, tick: dollarsBy, series: [
    ["dollars", "dollars", "--accent", "bars"]] },
];

const DASHES = { dash: [7, 4], dots: [2, 3] };

function series([, words, name, style], stacked) {
  const stroke = colour(name);
  const out = { label: words, stroke, width: 1.75, spanGaps: false, points: { show: false }, dash: DASHES[style] };
  if (style === "area") out.fill = `${stroke}2e`;
  if (style === "bars") Object.assign(out, { paths: uPlot.paths.bars({ size: [0.8, 24], align: 0 }), fill: `${stroke}b0`, width: 0 });
  if (style === "step") Object.assign(out, { paths: uPlot.paths.stepped({ align: -1 }), width: 1.5 });
  if (stacked) Object.assign(out, { fill: `${stroke}c8`, width: 0 });
  // A single minute between two gaps is no line: it is a point.
  if (style !== "bars" && !stacked) out.points = { show: true, size: 4, fill: stroke, filter: lonely };
  return out;
}

function lonely(plot, index) {
  const values = plot.data[index];
  const found = [];
  values.forEach((value, at) => {
    if (value != null && values[at - 1] == null && values[at + 1] == null) found.push(at);
  });
  return found;
}

/** A chart of its own `<figure>`: show(table) draws, table = {at: [...], field: [...]}. */
class Chart {
  constructor(told, parent) {
    this.told = told;
    this.plot = null;
    this.table = null;
    this.figure = document.createElement("figure");
    this.figure.className = "chart panel";
    this.figure.innerHTML = `<figcaption><h3></h3><span class="unit"></span><time></time></figcaption>
      <ul class="legend"></ul><div class="plot" role="img"></div><p class="empty" hidden>No figures in this time.</p>
      <details><summary>As a table</summary><div class="rows" tabindex="0" role="region"></div></details>`;
    const find = (name) => this.figure.querySelector(name);
    find("h3").textContent = told.title;
    find(".unit").textContent = told.unit;
    this.moment = find("time");
    this.place = find(".plot");
    this.empty = find(".empty");
    this.rows = find(".rows");
    this.rows.setAttribute("aria-label", `${told.title}, as a table`);
    this.details = find("details");
    this.details.addEventListener("toggle", () => this.fill());
    this.values = told.series.map(([, words, , style], index) => {
      const item = document.createElement("li");
      item.innerHTML = '<svg width="22" height="10" aria-hidden="true"><line x1="1" x2="21" y1="5" y2="5"/></svg><span></span> <b></b>';
      item.className = `as-${style}`;
      item.querySelector("span").textContent = words;
      item.querySelector("svg").style.color = `var(${told.series[index][2]})`;
      find(".legend").append(item);
      return item.querySelector("b");
    });
    parent.append(this.figure);
    new ResizeObserver(() => this.size()).observe(this.place);
  }

  show(table) {
    this.table = table;
    const raw = this.told.series.map(([field]) => table[field]);
    const any = raw.some((values) => values.some((value) => value != null));
    this.empty.hidden = any;
    this.place.hidden = !any;
    if (any) this.draw([table.at, ...(this.told.stacked ? stack(raw) : raw)]);
    else this.clear();
    this.legend(null);
    this.place.setAttribute("aria-label", this.words(raw));
    this.fill();
  }

  draw(data) {
    if (this.plot) {
      this.plot.setData(data);
      return;
    }
    const { width, height } = this.box();
    this.plot = new uPlot(this.options(width, height), data, this.place);
  }

  /** Drawn anew: in other colours. */
  clear() {
    this.plot?.destroy();
    this.plot = null;
  }

  box() {
    return { width: Math.max(120, this.place.clientWidth), height: 180 };
  }

  size() {
    if (this.plot && this.place.clientWidth) this.plot.setSize(this.box());
  }

  options(width, height) {
    const quiet = colour("--quiet");
    const grid = { stroke: colour("--line"), width: 1 };
    const font = "12px system-ui, sans-serif"; // whole pixels: uPlot scales no others
    const { told } = this;
    return {
      width, height, padding: [8, 18, 0, 0], // right: half of a time's label, which may stand at the very end
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: !told.stacked } },
      scales: { x: { time: true, range: () => [this.table.at[0], this.table.at.at(-1)] },
        y: { range: (_, low, high) => [0, Math.max(high * 1.08, told.whole ? 1 : 1e-6)] } },
      axes: [
        { stroke: quiet, grid: { show: false }, ticks: { ...grid, size: 5 }, font, size: 28, gap: 2, space: 64,
          values: (_, splits) => splits.map((at) => minute(new Date(at * 1000))) },
        { stroke: quiet, grid, ticks: { show: false }, font, size: 62, space: 34,
          incrs: told.whole ? WHOLE : told.steps,
          values: (_, splits, axis, space, step) => splits.map(
            (value) => (value === 0 ? "0" : (told.tick ?? told.show)(value, step))) },
      ],
      series: [{}, ...told.series.map((one) => series(one, told.stacked))],
      bands: told.stacked ? told.series.slice(1).map((_, index) => ({ series: [index + 2, index + 1] })) : undefined,
      hooks: { setCursor: [(plot) => this.legend(plot.cursor.idx ?? null)] },
    };
  }

  /** The values at `index`, or the last ones that are known. */
  legend(index) {
    const { at } = this.table;
    this.moment.textContent = index === null ? "" : when(new Date(at[index] * 1000));
    this.told.series.forEach(([field], number) => {
      const values = this.table[field];
      const value = index === null ? values.findLast((one) => one != null) : values[index];
      this.values[number].textContent = value == null ? UNKNOWN : this.told.show(value);
    });
  }

  words(raw) {
    const said = this.told.series.map(([, words], index) => {
      const known = raw[index].filter((value) => value != null);
      return known.length ? `${words}: ${this.told.show(known.at(-1))} now, ${this.told.show(Math.max(...known))} at most` : `${words}: not known`;
    });
    return `${this.told.title}, ${this.told.unit}. ${said.join("; ")}.`;
  }

  /** The table, while somebody looks at it: the last value of so many minutes each. */
  fill() {
    if (!this.details.open || !this.table) return;
    const { at } = this.table;
    const step = Math.max(1, Math.ceil(at.length / ROWS));
    const head = ["time", ...this.told.series.map(([, words]) => words)];
    const table = document.createElement("table");
    const cell = (row, kind, text) => {
      const made = document.createElement(kind);
      made.textContent = text;
      row.append(made);
      return made;
    };
    const top = table.createTHead().insertRow();
    head.forEach((text) => { cell(top, "th", text).scope = "col"; });
    const body = table.createTBody();
    for (let index = at.length - 1; index >= 0; index -= step) {
      const row = body.insertRow();
      cell(row, "th", when(new Date(at[index] * 1000))).scope = "row";
      this.told.series.forEach(([field]) => {
        const value = this.table[field].slice(Math.max(0, index - step + 1), index + 1).findLast((one) => one != null);
        cell(row, "td", value == null ? UNKNOWN : this.told.show(value));
      });
    }
    this.rows.replaceChildren(table);
  }
}

/** Each series with those before it below. A minute that nobody saw has none. */
function stack(raw) {
  const out = [];
  raw.forEach((values, index) => {
    out.push(values.map((value, at) => (value == null ? null : value + (index ? out[index - 1][at] ?? 0 : 0))));
  });
  return out;
}

/** `points` as columns, a null for each minute between them that is missing, up to `hours` back. */
export function columns(points, hours, step, now) {
  const last = Math.floor(now / 1000 / step) * step;
  const first = last - hours * 3600;
  const length = Math.round((last - first) / step) + 1;
  const out = { at: Array.from({ length }, (_, index) => first + index * step) };
  CHARTS.forEach(({ series: all }) => all.forEach(([field]) => { out[field] = new Array(length).fill(null); }));
  points.forEach((point) => {
    const index = Math.round((Date.parse(point.at) / 1000 - first) / step);
    if (index < 0 || index >= length) return;
    Object.keys(out).forEach((field) => { if (field !== "at") out[field][index] = point[field] ?? null; });
  });
  return out;
}

export class Charts {
  constructor(parent) {
    this.charts = CHARTS.map((told) => new Chart(told, parent));
    this.table = null;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.charts.forEach((chart) => chart.clear());
      if (this.table) this.show(this.table);
    });
  }

  show(table) {
    this.table = table;
    this.charts.forEach((chart) => chart.show(table));
  }
}
