// One version: how it was judged, how good it is and where it is not, and what it was made from.
import { chart } from "../charts.js";
import { h, named } from "../dom.js";
import { count, digits, percent, signed, words } from "../format.js";
import { outside } from "../links.js";
import { badge, facts, measured, note, outcome, table } from "../parts.js";
import { showLineage } from "./lineage.js";

export function showCandidate(found, key) {
  const { report } = found;
  return [
    h(
      "h3",
      { class: "row" },
      `Version ${found.version}`,
      outcome(found.outcome),
      outside("MLflow", found.url, { tab: true }),
      outside("card", found.card, { tab: true }),
    ),
    gates(found.gates),
    h("div", { class: "columns" }, metrics(report), contenders(report)),
    h("div", { class: "columns" }, slices(report), weakSpots(report)),
    h("div", { class: "columns" }, fairness(report), calibration(report)),
    h(
      "div",
      { class: "block" },
      h("h3", {}, "Cost and reproduction"),
      facts([
        ["Time to answer one row", `${digits(report.latency_ms)} ms`],
        ["Size", `${digits(report.size_mb)} MB`],
        [
          "Test rows",
          [count(report.rows), report.rarest_rows !== null && `, ${count(report.rarest_rows)} of the rarest class`],
        ],
        ["A second fit", report.is_reproducible ? "gave the same bits" : "gave other bits"],
      ]),
    ),
    showLineage(found, key),
  ];
}

function gates(all) {
  return table({
    caption: "Gates",
    quiet: false,
    rows: all,
    columns: [
      { title: "Gate", head: true, cell: (one) => named(one.name) },
      {
        title: "Result",
        cell: (one) =>
          one.passed
            ? h("span", { class: "healthy nowrap" }, "✓ passed")
            : h("span", { class: "failing nowrap" }, "✗ failed", one.refusal && `: ${words(one.refusal)}`),
      },
      { title: "Found", cell: (one) => named(one.found) },
      { title: "Expected", cell: (one) => named(one.expected) },
    ],
  });
}

function metrics(report) {
  return table({
    caption: "Metrics on the test rows",
    quiet: false,
    rows: Object.entries(report.metrics),
    columns: [
      {
        title: "Metric",
        head: true,
        cell: ([name]) => [words(name), name === report.metric && [" ", badge("decisive", "info")]],
      },
      { title: "Value and interval", number: true, cell: ([, one]) => measured(one) },
    ],
  });
}

/** The champion, baselines and others that scored the same rows, with the version's gain over each. */
function contenders(report) {
  const own = { name: "this version", metric: report.metrics[report.metric], gain: null };
  const named_ = (one, name) => one && { ...one, name: one.version ? `${name}, version ${one.version}` : name };
  const rows = [
    own,
    named_(report.champion, "champion"),
    named_(report.window, "champion, on the window that asked"),
    named_(report.pool, "pooled model"),
    ...report.baselines,
  ].filter(Boolean);
  return table({
    caption: `${words(report.metric)} beside others (${report.lower_is_better ? "lower" : "higher"} is better)`,
    quiet: false,
    rows,
    columns: [
      { title: "Who", head: true, cell: (one) => named(one.name) },
      { title: words(report.metric), number: true, cell: (one) => measured(one.metric) },
      { title: "Gain over it", number: true, cell: (one) => measured(one.gain, signed) },
    ],
  });
}

function slices(report) {
  if (!report.slices.length) return block("Slices", note("None is declared."));
  const hasChampion = report.slices.some((one) => one.versus_champion);
  return table({
    caption: `Slices: ${words(report.metric)}`,
    quiet: false,
    rows: report.slices,
    columns: [
      { title: "Slice", head: true, cell: (one) => named(one.name) },
      { title: "Rows", number: true, cell: (one) => count(one.rows) },
      { title: words(report.metric), number: true, cell: (one) => measured(one.metric) },
      ...(hasChampion
        ? [{ title: "Gain over champion", number: true, cell: (one) => measured(one.versus_champion, signed) }]
        : []),
    ],
  });
}

function weakSpots(report) {
  if (!report.weak_spots.length) return block("Weak spots", note("None was found."));
  return table({
    caption: "Weak spots: where it errs more than elsewhere",
    quiet: false,
    rows: report.weak_spots,
    columns: [
      { title: "Rows where", head: true, cell: (one) => named(one.name) },
      { title: "Rows", number: true, cell: (one) => count(one.rows) },
      { title: "Loss", number: true, cell: (one) => digits(one.loss) },
      { title: "Elsewhere", number: true, cell: (one) => digits(one.loss_elsewhere) },
      { title: "Effect", number: true, cell: (one) => digits(one.effect) },
    ],
  });
}

function fairness(report) {
  if (!report.fairness.length) return block("Fairness", note("No attribute is declared as sensitive."));
  return h(
    "div",
    { class: "stack" },
    report.fairness.map((one) => {
      const rates = [...new Set(Object.values(one.groups).flatMap(Object.keys))];
      return table({
        caption: `Fairness by ${one.column}: equalized odds ${digits(one.equalized_odds)}, demographic parity ${digits(one.demographic_parity)}`,
        quiet: false,
        rows: Object.entries(one.groups),
        columns: [
          { title: "Group", head: true, cell: ([name]) => named(name) },
          ...rates.map((rate) => ({
            title: words(rate),
            number: true,
            cell: ([, group]) => (rate === "rows" ? count(group[rate]) : digits(group[rate])),
          })),
        ],
      });
    }),
  );
}

function calibration(report) {
  const bins = report.calibration;
  if (!bins.length) return block("Calibration", note("Only classifications have one."));
  const asTable = () =>
    table({
      caption: "Calibration by bin",
      rows: bins,
      columns: [
        { title: "Said", head: true, cell: (one) => percent(one.score) },
        { title: "Was", number: true, cell: (one) => percent(one.frequency) },
        { title: "Rows", number: true, cell: (one) => count(one.rows) },
      ],
    });
  const label = "How often it happened beside how likely it was said to be";
  return block("Calibration", chart({ label, height: 280, draw: (colours) => curve(bins, colours), table: asTable }));
}

function curve(bins, colours) {
  const axis = (text) => ({ tickformat: ",.0%", title: { text, font: { color: colours.quiet } } });
  const hover = (one) => `said ${percent(one.score)}<br>was ${percent(one.frequency)}<br>${count(one.rows)} rows`;
  return {
    data: [
      {
        type: "scatter",
        mode: "lines",
        name: "perfect",
        x: [0, 1],
        y: [0, 1],
        hoverinfo: "skip",
        line: { color: colours["dot-grey"], dash: "dot", width: 1 },
      },
      {
        type: "scatter",
        mode: "lines+markers",
        name: "this version",
        x: bins.map((one) => one.score),
        y: bins.map((one) => one.frequency),
        line: { color: colours["dot-blue"] },
        hoverinfo: "text",
        text: bins.map(hover),
      },
    ],
    layout: { xaxis: axis("said"), yaxis: axis("was"), margin: { l: 56, r: 14, t: 36, b: 44 } },
  };
}

function block(title, ...children) {
  return h("div", { class: "block" }, h("h3", {}, title), children);
}
