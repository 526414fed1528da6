// The metric by partition: on labels, as estimated, and what was to be expected of it.
import { getOf } from "../api.js";
import { chart, plain } from "../charts.js";
import { named } from "../dom.js";
import { count, digits, interval, percent, words } from "../format.js";
import { fill, note, table } from "../parts.js";

const HEIGHT = innerWidth < 600 ? 430 : 340; // the legend needs more lines

export function showMetric(body, page, key) {
  return fill(
    body,
    () => getOf(key, "/series"),
    (series) =>
      series.points.length
        ? chart({
            label: summary(series),
            height: HEIGHT,
            draw: (colours) => figure(series, colours),
            table: () => asTable(series),
          })
        : note(
            "Nothing that it answered has been looked at yet. The monitor looks once a partition of records is complete.",
          ),
  );
}

function summary({ metric, points }) {
  const last = points.at(-1);
  const fired = points.filter((one) => one.fired.length).length;
  return `${words(metric)} on ${points.length} partitions from ${points[0].partition} to ${last.partition}. The last: ${digits(last.actual)} on labels, ${digits(last.estimate)} estimated. Signals fired on ${fired}.`;
}

function figure({ metric, points }, colours) {
  const x = points.map((one) => one.start.slice(0, 19));
  return {
    data: lines(points, x, colours),
    layout: {
      hovermode: "x",
      xaxis: { type: "date", range: [x[0], x.at(-1)].map(beside) },
      margin: { l: 56, r: 14, t: 40, b: 36 },
      yaxis: { title: { text: plain(words(metric)), font: { color: colours.quiet } } },
      ...versions(points, x, colours),
    },
  };
}

function lines(points, x, colours) {
  const line = (name, value, more) => ({
    type: "scatter",
    mode: "lines",
    name,
    x,
    y: points.map(value),
    hoverinfo: "skip",
    ...more,
  });
  const fired = (one) => (one.fired.length ? seen(one) : null);
  const mark = {
    symbol: "triangle-down",
    size: 12,
    color: colours["dot-red"],
    line: { width: 1, color: colours.page },
  };
  return [
    line("low", (one) => one.low, { line: { width: 0 }, showlegend: false }),
    line("expected of the window", (one) => one.high, {
      line: { width: 0 },
      fill: "tonexty",
      fillcolor: `${colours["dot-blue"]}2e`,
    }),
    line("threshold", (one) => one.threshold, { line: { color: colours["dot-red"], width: 1, dash: "dot" } }),
    line("estimated", (one) => one.estimate, { line: { color: colours["dot-amber"], width: 1.5, dash: "dash" } }),
    line("over the window", (one) => one.window, { line: { color: colours["dot-blue"], width: 2 } }),
    line("on labels", (one) => one.actual, {
      mode: "lines+markers",
      line: { color: colours.quiet, width: 1 },
      marker: { size: 5, color: colours.text },
    }),
    line("a signal fired", fired, { mode: "markers", marker: mark }),
    // Unseen, and above all others: hovering anywhere says everything of the nearest partition.
    line("all", seen, {
      mode: "markers",
      marker: { opacity: 0 },
      showlegend: false,
      hoverinfo: "text",
      text: points.map(hover),
    }),
  ];
}

/** A vertical line with a label where the champion changes. */
function versions(points, x, colours) {
  const changes = points.flatMap((one, index) =>
    one.version !== null && one.version !== points[index - 1]?.version ? [index] : [],
  );
  const line = { color: colours.quiet, width: 1, dash: "dot" };
  const label = {
    yref: "paper",
    y: 1,
    yanchor: "top",
    xanchor: "left",
    showarrow: false,
    font: { color: colours.quiet, size: 11 },
  };
  return {
    shapes: changes.map((index) => ({ type: "line", x0: x[index], x1: x[index], yref: "paper", y0: 0, y1: 1, line })),
    annotations: changes.map((index) => ({ ...label, x: x[index], text: `v${points[index].version}` })),
  };
}

/** A little room at both ends. */
function beside(time, index, [first, last]) {
  const room = Math.max((Date.parse(`${last}Z`) - Date.parse(`${first}Z`)) / 60, 3_600_000);
  return new Date(Date.parse(`${time}Z`) + (index ? room : -room)).toISOString().slice(0, 19);
}

/** Where a partition's mark is: on what was measured, or else on what was reckoned. */
function seen(one) {
  return one.actual ?? one.estimate ?? one.window ?? one.expected;
}

function hover(one) {
  return [
    `${plain(one.partition)}${one.version === null ? "" : ` · v${one.version}`}`,
    `${count(one.rows)} rows, ${percent(one.maturity)} of the labels`,
    one.actual !== null && `on labels ${digits(one.actual)}`,
    one.estimate !== null && `estimated ${digits(one.estimate)}`,
    one.window !== null && `over the window ${digits(one.window)}`,
    one.expected !== null && `expected ${digits(one.expected)} ${interval(one.low, one.high)}`,
    one.threshold !== null && `threshold ${digits(one.threshold)}`,
    one.fired.length > 0 && `fired: ${plain(one.fired.map(words).join(", "))}`,
  ]
    .filter(Boolean)
    .join("<br>");
}

function asTable({ points }) {
  const number = (title, cell) => ({ title, number: true, cell });
  return table({
    caption: "The metric by partition, newest first",
    rows: [...points].reverse(),
    columns: [
      { title: "Partition", head: true, cell: (one) => named(one.partition) },
      number("Version", (one) => one.version ?? "–"),
      number("Rows", (one) => count(one.rows)),
      number("Labels", (one) => percent(one.maturity)),
      number("On labels", (one) => digits(one.actual)),
      number("Estimated", (one) => digits(one.estimate)),
      number("Window", (one) => digits(one.window)),
      number("Expected", (one) => `${digits(one.expected)} ${interval(one.low, one.high)}`),
      number("Threshold", (one) => digits(one.threshold)),
      { title: "Fired", cell: (one) => one.fired.map(words).join(", ") || "–" },
    ],
  });
}
