// Parts that every page uses: states of loading, tables, health, pages of a list.
import { ApiError, here, query } from "./api.js";
import { flat, h, named, show } from "./dom.js";
import { count, digits, interval, words } from "./format.js";
import { leave } from "./links.js";

/** Load something and show it in an element, which meanwhile and if it fails says so. */
export async function fill(box, load, render) {
  box.setAttribute("aria-busy", "true");
  show(box, h("p", { role: "status", class: "loading" }, "Loading…"));
  try {
    show(box, render(await load()));
  } catch (error) {
    if (!(error instanceof ApiError)) console.error(error);
    show(
      box,
      failure(error, () => fill(box, load, render)),
    );
  } finally {
    box.removeAttribute("aria-busy");
  }
}

/** What went wrong, and a way to try again. */
export function failure(error, retry) {
  const again =
    error.status === 401
      ? h("button", { type: "button", onclick: logIn }, "Log in")
      : retry && h("button", { type: "button", onclick: retry }, "Try again");
  return h("div", { role: "alert", class: "alert bad" }, h("p", {}, error.message), again);
}

function logIn() {
  if (window.parent === window) location.reload();
  else leave(window.parent.location.href);
}

export function note(...children) {
  return h("p", { class: "empty" }, children);
}

/** A model's health: a dot and the word. */
export function healthWord(health) {
  return h("span", { class: `health ${health}` }, h("span", { class: "dot", "aria-hidden": "true" }), health);
}

/** A word in a frame, coloured by what it means: good, bad, warn, info or nothing. */
export function badge(text, kind = "") {
  return h("span", { class: `badge ${kind}` }, words(text));
}

const OUTCOMES = { promote: "good", hold: "warn", reject: "bad", failed: "bad", success: "good" };

export function outcome(text) {
  return badge(text, OUTCOMES[text]);
}

/** A value with its interval below or beside. */
export function measured(one, format = digits) {
  if (!one) return "–";
  return h("span", { class: "measured" }, format(one.value), " ", h("small", {}, interval(one.low, one.high, format)));
}

/**
 * A table that scrolls in its own frame; on narrow screens each row is a card, unless it is compact.
 * Columns: `title`, `cell` (row -> children), and if wanted `number`, `head` (a cell that names its row), `sort`.
 */
export function table({ caption, columns, rows, quiet = true, isCompact = false, mark }) {
  const head = columns.map((one) =>
    h(
      "th",
      {
        scope: "col",
        class: one.number && "number",
        "aria-sort": one.sort && sortState(one.sort),
      },
      one.sort ? sortLink(one) : one.title,
    ),
  );
  const body = rows.map((row) =>
    h(
      "tr",
      { class: mark?.(row) && "chosen", "aria-current": mark?.(row) && "true" },
      columns.map((one) => cellOf(one, row)),
    ),
  );
  return h(
    "div",
    { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    h(
      "table",
      { class: isCompact ? "compact" : "cards" },
      h("caption", { class: quiet && "unseen" }, caption),
      h("thead", {}, h("tr", {}, head)),
      h("tbody", {}, body),
    ),
  );
}

function cellOf(column, row) {
  const attributes = { class: column.number && "number", "data-title": column.title };
  const content = h("div", { class: "cell" }, column.cell(row));
  return column.head ? h("th", { scope: "row", ...attributes }, content) : h("td", attributes, content);
}

function sortState(name) {
  if ((query.get("sort") ?? "health") !== name) return null;
  return query.get("descending") === "true" ? "descending" : "ascending";
}

function sortLink({ title, sort }) {
  const state = sortState(sort);
  const changes = { sort, descending: state === "ascending" ? "true" : "", offset: "" };
  const sign = { ascending: "↑", descending: "↓" }[state];
  return h("a", { href: here(changes), class: "sort" }, title, h("span", { "aria-hidden": "true" }, sign ?? ""));
}

/** Links to the other pages of a list; `name` is the query's word for its offset. */
export function pager({ total, offset, limit }, name = "offset", hash = "") {
  if (total <= limit && !offset) return null;
  const last = Math.min(offset + limit, total);
  const step = (text, to, is) =>
    is
      ? h("a", { class: "button", href: here({ [name]: to || "" }, hash) }, text)
      : h("span", { class: "button off", "aria-hidden": "true" }, text);
  return h(
    "nav",
    { class: "pager", "aria-label": name === "offset" ? "pages" : `pages of ${name}` },
    h("span", {}, total ? `${count(Math.min(offset + 1, total))} to ${count(last)} of ${count(total)}` : "none"),
    step("Previous", Math.max(offset - limit, 0), offset > 0),
    step("Next", offset + limit, last < total),
  );
}

/** Facts as term and value; those that are empty are left out. */
export function facts(pairs, attributes = {}) {
  const known = pairs.filter(([, value]) => flat([value]).length);
  return h(
    "dl",
    { class: "facts", ...attributes },
    known.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))),
  );
}

/** Any JSON as nested terms and values. */
export function tree(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return Number.isInteger(value) ? count(value) : digits(value);
  if (typeof value !== "object") return named(value);
  const entries = Array.isArray(value) ? value.map((one, index) => [String(index + 1), one]) : Object.entries(value);
  if (!entries.length) return "none";
  if (entries.every(([, one]) => one === null || typeof one !== "object") && Array.isArray(value)) {
    return named(value.map((one) => one ?? "–").join(", "));
  }
  return h(
    "dl",
    { class: "tree" },
    entries.map(([term, one]) =>
      h(
        "div",
        { class: one && typeof one === "object" && "deep" },
        h("dt", {}, named(words(term))),
        h("dd", {}, tree(one)),
      ),
    ),
  );
}

/** A long text, its first part seen; the rest behind "more". */
export function foldable(text, length = 110) {
  const signs = Array.from(text ?? "");
  if (signs.length <= length) return named(text ?? "");
  return h(
    "details",
    { class: "fold" },
    h("summary", {}, named(`${signs.slice(0, length - 1).join("")}…`), h("span", { class: "more" }, " more")),
    named(text),
  );
}
