/* Numbers as people read them: irs/web/figures.py has the same for the page without a script. */

export const UNKNOWN = "–";

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function count(value) {
  return value == null ? UNKNOWN : number.format(value);
}

export function many(value, one, more = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : more}`;
}

export function seconds(value) {
  if (value == null) return UNKNOWN;
  if (value < 0.9995) return `${(value * 1000).toFixed(0)} ms`;
  if (value < 9.95) return `${value.toFixed(1)} s`;
  if (value < 90) return `${value.toFixed(0)} s`;
  if (value < 5400) return `${(value / 60).toFixed(0)} min`;
  return value < 172800 ? `${(value / 3600).toFixed(1)} h` : `${(value / 86400).toFixed(0)} days`;
}

export function dollars(value) {
  if (value == null) return UNKNOWN;
  if (value > 0 && value < 1) return value >= 0.0001 ? `$${value.toFixed(4)}` : "< $0.0001";
  return value < 1000
    ? `$${value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`
    : `$${number.format(value)}`;
}

/** The places that `step` has, `least` or more: a tick's, on an axis whose ticks are `step` apart. */
function places(step, least) {
  let found = least;
  while (found < 7 && Math.abs(Number(step.toFixed(found)) - step) > step / 1000) found += 1;
  return found;
}

export function dollarsBy(value, step) {
  return `$${value.toFixed(places(step, 2))}`;
}

/** Steps of an axis of seconds: each is a round number of the unit that `secondsBy` takes for it. */
export const SECONDS = [
  ...[1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1].flatMap((one) => [one, 2 * one, 5 * one]),
  1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800,
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].map((hours) => hours * 3600),
];

/** A tick of such an axis. The step alone says in which unit and with how many places. */
export function secondsBy(value, step) {
  const [one, name] = step < 0.2 ? [0.001, "ms"] : step < 60 ? [1, "s"] : step < 3600 ? [60, "min"] : [3600, "h"];
  return `${(value / one).toFixed(places(step / one, 0))} ${name}`;
}

export function percent(value) {
  return value > 0 && value < 0.001 ? "< 0.1 %" : `${(value * 100).toFixed(value < 0.1 ? 1 : 0)} %`;
}

const clockFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minuteFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dayFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

export const clock = (moment) => clockFormat.format(moment);
export const minute = (moment) => minuteFormat.format(moment);
/** The time alone where it was today, with the day where it was not. */
export const when = (moment) => (new Date().toDateString() === moment.toDateString() ? minute : dayFormat.format.bind(dayFormat))(moment);
