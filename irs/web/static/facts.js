/* The present facts in words: what irs/web/wording.py says of the same JSON. */

import { UNKNOWN, count, dollars, many, percent, seconds } from "./figures.js";

export const STATES = ["busy", "idle", "booting", "draining", "stopped"];
/** Seconds after which a scaler or a worker that has said nothing does not run. */
const SILENT = 60;
/** Share of images without a label that is too much. */
const MANY = 0.01;
/** Milliseconds: the last minute that is told of began so long ago at most. */
const HOUR = 3600e3;
const LATEST = 180e3;

/** Every text of the page by its name; `points` are those of the history, `at` is the present moment. */
export function facts(now, points, at, priced) {
  const latency = now.latency ?? {};
  const minutes = since(points, at - HOUR);
  return {
    ...queue(now.queue ?? {}), ...fleet(now.fleet ?? null), ...rate(minutes, since(points, at - LATEST)),
    ...times("wait", latency), ...times("infer", latency), ...errors(minutes), ...cost(now.cost ?? null, priced),
  };
}

function since(points, moment) {
  return points.filter((point) => Date.parse(point.at) >= moment);
}

export function instanceNote(found, at) {
  const words = [`${seconds(found.age_seconds)} old`, `${count(found.images)} done`];
  if (found.running) words.push(`${found.running} in hand`);
  const silent = found.reported_at && found.state !== "stopped" ? (at - Date.parse(found.reported_at)) / 1000 : 0;
  if (silent > SILENT) words.push(`silent for ${seconds(silent)}`);
  return words.join(" · ");
}

function queue(found) {
  const words = found.oldest_seconds != null ? [`oldest ${seconds(found.oldest_seconds)}`] : [];
  const dead = found.dead ?? null;
  return {
    "queue.value": count(found.visible), "queue.tone": "",
    "queue.note": [...words, `${count(found.in_flight)} in hand`].join(" · "),
    "dead.value": count(dead), "dead.tone": dead ? "bad" : "",
    "dead.note": dead === null ? "not known" : dead ? "what no worker could finish" : "none",
  };
}

function fleet(found) {
  if (found === null) {
    return {
      "fleet.value": UNKNOWN, "fleet.tone": "", "fleet.note": "no scaler has reported", "fleet.scaler": "",
      "fleet.empty": "No scaler has reported: irs scale is one, and irs up starts it with everything else.",
    };
  }
  const states = (found.instances ?? []).map((one) => one.state);
  const words = STATES.filter((state) => states.includes(state))
    .map((state) => `${states.filter((one) => one === state).length} ${state}`);
  const silent = found.age_seconds > SILENT;
  return {
    "fleet.value": count(found.running), "fleet.tone": silent ? "warn" : "",
    "fleet.note": [...words, `${found.max} at most`].join(" · "),
    "fleet.scaler": silent ? `the scaler was last heard of ${seconds(found.age_seconds)} ago`
      : `${found.policy} policy, ${found.min} to ${found.max}`,
    "fleet.empty": "None now. The scaler launches one when work comes.",
  };
}

function rate(minutes, latest) {
  const hour = sum(minutes, "images");
  return {
    "rate.value": count(latest.at(-1)?.images), "rate.tone": "",
    "rate.note": hour === null ? "no figures so far" : `${many(hour, "image")} in the last hour`,
  };
}

function times(name, latency) {
  const p95 = latency[`${name}_p95`] ?? null;
  return {
    [`${name}.value`]: seconds(latency[`${name}_p50`]), [`${name}.tone`]: "",
    [`${name}.note`]: p95 === null ? "nothing in the last 5 minutes" : `95 % within ${seconds(p95)}`,
  };
}

function errors(minutes) {
  const failed = sum(minutes, "failed");
  const images = sum(minutes, "images");
  if (!images || failed === null) return { "errors.value": count(failed), "errors.tone": "", "errors.note": "no images" };
  const share = failed / images;
  return {
    "errors.value": count(failed), "errors.tone": share >= MANY ? "bad" : "",
    "errors.note": `${percent(share)} of ${many(images, "image")}`,
  };
}

function cost(found, priced) {
  if (found === null || found.today_dollars == null) {
    return {
      "cost.value": UNKNOWN, "cost.tone": "", "cost.part": "",
      "cost.note": priced ? "not known so far" : "no price is set: IRS_INSTANCE_PRICE",
    };
  }
  const today = found.today_dollars;
  const budget = found.budget_per_day ?? null;
  const words = found.dollars_per_1000_images == null ? [] : [`${dollars(found.dollars_per_1000_images)} per 1,000 images`];
  let tone = "";
  let part = "";
  if (budget === null) {
    words.push("no budget is set: IRS_BUDGET");
  } else if (today > budget) {
    words.unshift(`over the budget of ${dollars(budget)} by ${dollars(today - budget)}`);
    [tone, part] = ["bad", "100"];
  } else {
    words.unshift(`${percent(today / budget)} of the budget of ${dollars(budget)}`);
    part = ((100 * today) / budget).toFixed(2);
  }
  return { "cost.value": dollars(today), "cost.tone": tone, "cost.part": part, "cost.note": words.join(" · ") };
}

function sum(minutes, name) {
  const known = minutes.map((minute) => minute[name]).filter((value) => value != null);
  return known.length ? known.reduce((a, b) => a + b, 0) : null;
}
