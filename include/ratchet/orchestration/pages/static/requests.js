// What was answered: records found by id, key, time, version or score, and one of them whole.
import { address, get, getOf, here, modelAddress, query, readKey } from "./api.js";
import { h, named, show } from "./dom.js";
import { at, digits, plural, shorten } from "./format.js";
import { field } from "./orders.js";
import { fill, healthWord, note, pager, table } from "./parts.js";
import { showRecord } from "./record.js";

const ASKED = ["origin", "request_id", "record_key", "start", "end", "version", "low", "high", "has_error", "offset"];
const LIMIT = 50;

export function showRequests(content) {
  const key = readKey();
  if (!key.name) return chooseModel(content);
  const list = h("div", { class: "stack" });
  const one = h("section", { id: "record", "aria-label": "the chosen record", hidden: !query.get("row") });
  show(content, heading(key), searchForm(key), one, list);
  if (query.get("row")) showRecord(one, key, chosenRecord());
  const params = Object.fromEntries(ASKED.map((name) => [name, query.get(name) ?? ""]));
  return fill(
    list,
    () => getOf(key, "/records", { ...params, limit: LIMIT }),
    (found) => results(found, key),
  );
}

// A chosen record has its own words in the query, so that choosing one leaves the search as it was. A link from
// elsewhere may name it by the search's words alone.
function chosenRecord() {
  return {
    origin: query.get("origin") || "requests",
    request_id: query.get("record") ?? query.get("request_id") ?? "",
    row: query.get("row") ?? "0",
    version: query.get("by") ?? query.get("version") ?? "",
  };
}

function heading(key) {
  return h(
    "div",
    {},
    h(
      "nav",
      { class: "crumbs", "aria-label": "where you are" },
      h("a", { href: "requests" }, "Requests"),
      " / ",
      named(key.name),
    ),
    h("h1", {}, "Requests of ", named(key.name), key.segment !== "all" && [", segment ", named(key.segment)]),
    h("p", { class: "small" }, h("a", { href: modelAddress(key) }, "to the model")),
  );
}

function chooseModel(content) {
  const box = h("div", { class: "stack" });
  show(content, h("h1", {}, "Requests"), h("p", { class: "quiet" }, "Of which model?"), box);
  const params = { sort: "model", offset: query.get("offset") ?? "", limit: 200 };
  return fill(
    box,
    () => get("models", params),
    (page) => [
      page.rows.length
        ? table({
            caption: "Models",
            rows: page.rows,
            columns: [
              {
                title: "Model",
                head: true,
                cell: (row) =>
                  h(
                    "a",
                    { class: "name", href: address("requests", { name: row.model }) },
                    named(shorten(row.model, 60)),
                  ),
              },
              { title: "Health", cell: (row) => healthWord(row.health) },
              { title: "Champion", cell: (row) => (row.champion === null ? "none" : `v${row.champion}`) },
            ],
          })
        : note("There is no model yet. ", h("a", { href: "models" }, "How to make one")),
      pager(page),
    ],
  );
}

function searchForm(key) {
  const value = (name) => ({ name, value: query.get(name) ?? "" });
  const choice = (name, label, options) => {
    const made = field({ name, label, options });
    made.querySelector("select").value = query.get(name) || options[0][0];
    return made;
  };
  return h(
    "form",
    { method: "get", action: "requests", class: "block asked", role: "search", "aria-label": "records" },
    h("input", { type: "hidden", name: "name", value: key.name }),
    key.segment !== "all" && h("input", { type: "hidden", name: "segment", value: key.segment }),
    h(
      "div",
      { class: "fields" },
      field({ label: "Request id", ...value("request_id") }),
      field({ label: "Record key", ...value("record_key") }),
      field({ label: "From (UTC)", type: "datetime-local", ...value("start") }),
      field({ label: "Before (UTC)", type: "datetime-local", ...value("end") }),
      field({ label: "Version", type: "number", min: 1, ...value("version") }),
      field({ label: "Score from", type: "number", step: "any", ...value("low") }),
      field({ label: "Score to", type: "number", step: "any", ...value("high") }),
      choice("has_error", "Outcome", [
        ["", "all"],
        ["true", "errors only"],
        ["false", "answers only"],
      ]),
      choice("origin", "Answered by", [
        ["requests", "the prediction service"],
        ["scores", "batch scoring"],
      ]),
    ),
    h(
      "div",
      { class: "row" },
      h("button", { type: "submit", class: "main" }, "Search"),
      h(
        "a",
        { href: address("requests", { name: key.name, segment: key.segment === "all" ? "" : key.segment }) },
        "Clear",
      ),
    ),
  );
}

function results(found, key) {
  const days = found.searched;
  const where = !days.length
    ? "No partition was searched."
    : `${plural(found.total, "record")} in ${plural(days.length, "partition")}, ${days[0]} to ${days.at(-1)}.`;
  return [
    h(
      "p",
      { class: "small", role: "status" },
      where,
      found.skipped > 0 && ` ${plural(found.skipped, "other partition")} not searched: say from when.`,
    ),
    found.rows.length
      ? list(found.rows, key)
      : note(
          "No record was found. ",
          query.get("origin") === "scores"
            ? ""
            : "Records are kept from the first request on that the prediction service answers.",
        ),
    pager({ ...found, limit: LIMIT }),
  ];
}

function list(rows, key) {
  const chosen = chosenRecord();
  const isChosen = (row) =>
    query.get("row") &&
    row.request_id === chosen.request_id &&
    String(row.row) === chosen.row &&
    String(row.version ?? "") === chosen.version;
  const hasSegments = key.segment !== "all" || rows.some((row) => row.segment !== null && row.segment !== "all");
  const segment = { title: "Segment", cell: segmentCell };
  return table({
    caption: "Records, newest event first",
    rows,
    mark: isChosen,
    columns: [
      { title: "Request", head: true, cell: requestCell },
      { title: "Event", cell: (row) => at(row.event_time) },
      ...(hasSegments ? [segment] : []),
      { title: "Key", cell: (row) => (row.key === null ? "–" : named(shorten(row.key, 60))) },
      { title: "Version", number: true, cell: (row) => (row.version === null ? "–" : `v${row.version}`) },
      { title: "Route", cell: (row) => row.route ?? "–" },
      { title: "Score", number: true, cell: scoreCell },
      {
        title: "Latency",
        number: true,
        cell: (row) => (row.latency_ms === null ? "–" : `${digits(row.latency_ms)} ms`),
      },
    ],
  });
}

function requestCell(row) {
  const href = here({ record: row.request_id, row: row.row, by: row.version ?? "" }, "#record");
  return h("a", { class: "name", href }, named(shorten(row.request_id, 60)), row.row > 0 && `, row ${row.row}`);
}

function segmentCell(row) {
  return [
    named(shorten(row.segment ?? "–", 40)),
    row.pooled_for && h("div", { class: "small" }, "for ", named(shorten(row.pooled_for, 40))),
  ];
}

function scoreCell(row) {
  return row.error
    ? h("span", { class: "failing", title: row.error }, "error: ", named(shorten(row.error, 60)))
    : digits(row.score);
}
