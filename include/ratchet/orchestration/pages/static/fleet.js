// Every model at a glance, or every segment of one.
import { address, get, here, modelAddress, part, query } from "./api.js";
import { h, named } from "./dom.js";
import { ago, count, digits, interval, percent, plural, shorten } from "./format.js";
import { fill, foldable, healthWord, note, outcome, pager, table } from "./parts.js";

const HEALTHS = ["broken", "failing", "warning", "waiting", "untrained", "unwatched", "healthy"];
const PASSED_ON = ["search", "health", "sort", "descending", "offset", "limit"];
const ROLES = { champion: "", challenger: "", person: "a person" };

export function showFleet(content) {
  const model = query.get("model");
  const box = h("div", { class: "stack" });
  content.replaceChildren(heading(model), searchBox(model), box);
  const params = Object.fromEntries(PASSED_ON.map((name) => [name, query.get(name) ?? ""]));
  const path = model ? `models/${part(model)}/segments` : "models";
  return fill(
    box,
    () => get(path, params),
    (page) => showPage(page, model),
  );
}

function heading(model) {
  if (!model) return h("h1", {}, "Models");
  return h(
    "div",
    {},
    h(
      "nav",
      { class: "crumbs", "aria-label": "where you are" },
      h("a", { href: "models" }, "Models"),
      " / ",
      h("a", { href: modelAddress({ name: model }) }, named(model)),
      " / Segments",
    ),
    h("h1", {}, "Segments of ", named(model)),
  );
}

function searchBox(model) {
  const kept = Object.entries({
    model,
    health: query.get("health"),
    sort: query.get("sort"),
    descending: query.get("descending"),
  });
  return h(
    "form",
    { method: "get", action: "models", role: "search", class: "search" },
    kept.map(([name, value]) => value && h("input", { type: "hidden", name, value })),
    h("label", { for: "search", class: "unseen" }, "Search by name, owner, health or signal"),
    h("input", {
      id: "search",
      name: "search",
      type: "search",
      maxlength: 200,
      value: query.get("search") ?? "",
      placeholder: "Search by name, owner, health or signal",
    }),
    h("button", { type: "submit" }, "Search"),
  );
}

function showPage(page, model) {
  const every = Object.values(page.by_health).reduce((sum, one) => sum + one, 0);
  if (!every && !query.get("search")) return model ? noSegments(model) : noModels();
  return [filters(page.by_health, every), page.rows.length ? list(page.rows, model) : noHit(model), pager(page)];
}

function filters(counts, every) {
  const chosen = query.get("health");
  const chip = (health, number, content) =>
    h(
      "a",
      {
        class: "chip",
        href: here({ health, offset: "" }),
        "aria-current": (chosen ?? "") === health && "true",
      },
      content,
      " ",
      h("b", {}, count(number)),
    );
  return h(
    "nav",
    { class: "chips", "aria-label": "filter by health" },
    chip("", every, "all"),
    HEALTHS.filter((one) => counts[one] || one === chosen).map((one) => chip(one, counts[one] ?? 0, healthWord(one))),
  );
}

function list(rows, model) {
  return table({
    caption: model ? `Segments of ${model}` : "Models",
    rows,
    columns: [
      { title: model ? "Segment" : "Model", sort: "model", head: true, cell: (row) => nameCell(row, model) },
      {
        title: "Health",
        sort: "health",
        cell: (row) => [healthWord(row.health), h("div", { class: "why" }, foldable(row.why))],
      },
      { title: "Champion", sort: "champion", cell: championCell },
      { title: "Traffic", cell: (row) => trafficCell(row.traffic) },
      { title: "Last training", sort: "trained", cell: trainingCell },
      { title: "Metric now", sort: "metric", cell: metricCell },
      { title: "Strongest signal", sort: "signal", cell: signalCell },
      {
        title: "Next",
        sort: "next",
        cell: (row) => [h("div", { class: "next" }, row.next), small(row.next_at && ago(row.next_at))],
      },
    ],
  });
}

function small(...children) {
  const known = children.flat().filter(Boolean);
  return known.length ? h("div", { class: "small" }, known) : null;
}

function nameCell(row, model) {
  const key = { name: row.model, segment: row.segment };
  const text = model ? row.segment : row.model;
  const sick = HEALTHS.filter((one) => one !== "healthy" && row.by_health[one]).map(
    (one) => `${row.by_health[one]} ${one}`,
  );
  return [
    h("a", { class: "name", href: modelAddress(key), title: text.length > 60 && text }, named(shorten(text, 60))),
    row.segments > 0 &&
      small(
        h("a", { href: address("models", { model: row.model }) }, plural(row.segments, "segment")),
        sick.length && `: ${sick.join(", ")}`,
      ),
    !model && row.owner && small(named(shorten(row.owner, 40), { title: row.owner.length > 40 && row.owner })),
  ];
}

function championCell(row) {
  if (row.champion === null) return h("span", { class: "quiet" }, "none");
  return [`v${row.champion}`, small(row.champion_since && ["since ", ago(row.champion_since)])];
}

/** Who answers how much: a bar, and the same in words. */
export function trafficCell(traffic) {
  if (!traffic.length) return h("span", { class: "quiet" }, "none");
  const label = (one) => `${ROLES[one.role] || `v${one.version}`} ${percent(one.share)}`;
  return [
    h(
      "div",
      { class: "bar", "aria-hidden": "true" },
      traffic.map((one) => h("span", { class: one.role, css: { width: `${one.share * 100}%` } })),
    ),
    h("div", { class: "small" }, traffic.map(label).join(" · ")),
  ];
}

function trainingCell({ training }) {
  if (!training) return h("span", { class: "quiet" }, "never");
  return [
    h(
      "span",
      { title: training.reason },
      outcome(training.outcome),
      training.version !== null && ` v${training.version}`,
    ),
    small(ago(training.at)),
  ];
}

function metricCell({ measure }) {
  if (!measure) return h("span", { class: "quiet" }, "not known");
  return [
    h("span", { class: "value" }, digits(measure.value)),
    " ",
    measure.kind === "estimated" && h("span", { class: "badge" }, "estimated"),
    typeof measure.expected === "number" &&
      small(
        `expected ${digits(measure.expected)} `,
        h("span", { class: "nowrap" }, interval(measure.low, measure.high)),
      ),
  ];
}

function signalCell({ signal }) {
  if (!signal) return h("span", { class: "quiet" }, "none");
  return [
    h(
      "span",
      { title: signal.words },
      h("span", { class: signal.is_fired && "fired" }, signal.is_fired ? "▲ " : ""),
      `${signal.kind.replaceAll("_", " ")}: `,
      named(shorten(signal.subject, 40)),
    ),
    small(`${digits(signal.strength)} × its threshold`, signal.is_fired ? "" : ", does not count"),
  ];
}

function noModels() {
  return h(
    "section",
    { class: "first" },
    h("h2", {}, "There is no model yet"),
    h(
      "ol",
      {},
      h("li", {}, h("code", {}, "./ratchet new NAME"), " makes a model's folder: its spec, SQL and a little Python."),
      h(
        "li",
        {},
        h("code", {}, "./ratchet run NAME"),
        " trains it, or trigger ",
        h("code", {}, "train_NAME"),
        " in Airflow.",
      ),
      h("li", {}, "It is listed here as soon as its folder is there."),
    ),
  );
}

function noSegments(model) {
  return note(
    "No segment of ",
    named(model),
    " has a champion of its own yet. ",
    h("a", { href: modelAddress({ name: model }) }, "To the model"),
  );
}

function noHit(model) {
  const search = query.get("search");
  const health = query.get("health");
  return h(
    "div",
    { role: "status" },
    note(
      "Nothing matches",
      search && [" “", named(search), "”"],
      health && ` with health ${health}`,
      ". ",
      h("a", { href: address("models", { model }) }, "Clear search and filter"),
    ),
  );
}
