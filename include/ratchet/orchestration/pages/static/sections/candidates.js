// The judged versions of a model key, newest first, and one of them whole.
import { getOf, here, part, query } from "../api.js";
import { h } from "../dom.js";
import { ago, at, digits, plural } from "../format.js";
import { badge, fill, foldable, note, outcome, pager, table } from "../parts.js";
import { showCandidate } from "./candidate.js";

export function showCandidates(body, page, key) {
  const chosen = query.get("version");
  const list = h("div", { class: "stack" });
  const one = h("div", { class: "stack", id: "candidate" });
  body.append(list, one);
  const loaded = [
    fill(
      list,
      () => getOf(key, "/candidates", { offset: query.get("candidates") ?? "", limit: 20 }),
      (found) =>
        found.rows.length
          ? [listOf(found, page.model.spec?.metric, chosen), pager(found, "candidates", "#candidates")]
          : note("No version was judged yet."),
    ),
  ];
  if (chosen)
    loaded.push(
      fill(
        one,
        () => getOf(key, `/candidates/${part(chosen)}`),
        (found) => showCandidate(found, key),
      ),
    );
  return Promise.allSettled(loaded);
}

function listOf(found, metric, chosen) {
  return table({
    caption: "Judged versions",
    rows: found.rows,
    mark: (row) => String(row.version) === chosen,
    columns: [
      {
        title: "Version",
        head: true,
        cell: (row) => [
          h("a", { class: "name", href: here({ version: row.version }, "#candidates") }, `v${row.version}`),
          row.aliases.map((name) => [" ", badge(name, name === "champion" ? "good" : "")]),
        ],
      },
      { title: "Outcome", cell: (row) => outcome(row.outcome) },
      { title: "Why", cell: (row) => h("div", { class: "why" }, foldable(row.reason, 140)) },
      { title: "Gates", cell: (row) => gatesCell(row) },
      {
        title: metric ? metric.replaceAll("_", " ") : "Metrics",
        number: true,
        cell: (row) => (metric ? digits(row.metrics[metric]) : Object.values(row.metrics).map(digits).join(", ")),
      },
      { title: "Against", cell: (row) => (row.judged_against === null ? "–" : `v${row.judged_against}`) },
      { title: "Knew", cell: (row) => at(row.as_of) },
      { title: "Judged", cell: (row) => ago(row.at) },
    ],
  });
}

function gatesCell(row) {
  if (!row.failed.length)
    return h("span", {}, h("span", { class: "healthy", "aria-hidden": "true" }, "✓ "), `all ${row.gates} passed`);
  return h(
    "span",
    {},
    h("span", { class: "failing", "aria-hidden": "true" }, "✗ "),
    `${row.failed.length} of ${plural(row.gates, "gate")} failed: `,
    foldable(row.failed.join(", "), 60),
  );
}
