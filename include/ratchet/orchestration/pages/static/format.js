// Numbers, times and words as people read them.
import { h } from "./dom.js";

const NONE = "–";
const SPACE = "\u00a0";
const UNITS = [
  ["year", 31_557_600],
  ["month", 2_629_800],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "always" });
const counts = new Intl.NumberFormat("en");
const four = new Intl.NumberFormat("en", { minimumSignificantDigits: 4, maximumSignificantDigits: 4 });
const percents = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** A metric or the like: four digits. */
export function digits(value) {
  if (!isNumber(value)) return NONE;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-4) return value.toExponential(2);
  if (size < 1) return value.toFixed(4);
  return size < 10_000 ? four.format(value) : counts.format(Math.round(value));
}

/** The same with its sign, for differences. */
export function signed(value) {
  return isNumber(value) && value > 0 ? `+${digits(value)}` : digits(value);
}

export function count(value) {
  return isNumber(value) ? counts.format(value) : NONE;
}

/** A part of one, as a percentage. */
export function percent(value) {
  return isNumber(value) ? `${percents.format(value * 100)}${SPACE}%` : NONE;
}

/** `[low, high]`, or nothing. */
export function interval(low, high, format = digits) {
  if (!isNumber(low) && !isNumber(high)) return "";
  return `[${isNumber(low) ? format(low) : "−∞"}, ${isNumber(high) ? format(high) : "∞"}]`;
}

export function plural(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}

/** A text cut to a length; whole code points only. */
export function shorten(text, length) {
  const signs = Array.from(String(text));
  return signs.length > length ? `${signs.slice(0, length - 1).join("")}…` : String(text);
}

/** How far an instant is from now, such as "3 days ago"; the exact time on hovering. */
export function ago(iso) {
  if (!iso) return NONE;
  const seconds = (new Date(iso) - Date.now()) / 1000;
  const [unit, length] = UNITS.find(([, one]) => Math.abs(seconds) >= one) ?? ["second", 1];
  const words =
    unit === "second"
      ? seconds > 0
        ? "in a moment"
        : "just now"
      : relative.format(Math.round(seconds / length), unit);
  return h("time", { datetime: iso, title: `${moment(iso)}` }, words);
}

/** A time of the data: absolute, as its meaning does not change with the clock. */
export function at(iso) {
  return iso ? h("time", { datetime: iso, title: iso }, moment(iso)) : NONE;
}

/** `2013-03-01 05:00 UTC` of an ISO time. */
export function moment(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? String(iso) : `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

/** A word of the API as people write it: `waiting_approval` is "waiting approval". */
export function words(text) {
  return String(text ?? "").replaceAll("_", " ");
}
