// Drift by column and partition; a cell opens how the column was distributed.
import { getOf } from "../api.js";
import { chart, plain } from "../charts.js";
import { h, named } from "../dom.js";
import { count, digits, percent, plural, shorten } from "../format.js";
import { field } from "../orders.js";
import { fill, note, table } from "../parts.js";

const ROW_PX = 19;
const CELL_PX = 11;
/** Thresholds that have the strongest colour. */
const MOST = 10;
/** The threshold's place among the colours. */
const MIDDLE = 0.4;
const TICKS = 12;

export function showDrift(body, page, key) {
  return fill(
    body,
    () => getOf(key, "/drift"),
    (map) =>
      map.columns.length
        ? content(map, key)
        : note("No column was compared yet. The monitor does so once a partition of records is complete."),
  );
}

function content(map, key) {
  const box = h("div", { class: "stack" });
  const open = (column, partition) => fill(box, () => getOf(key, "/distribution", { column, partition }), distribution);
  const drifted = map.drifted.flat().filter(Boolean).length;
  return [
    h(
      "p",
      { class: "small" },
      `How far each column is from what the champion learned from, beyond what days explain (population stability index). × marks what counted; it may from ${digits(map.threshold)} on.`,
      map.hidden > 0 && ` ${plural(map.hidden, "column")} that moved less ${map.hidden === 1 ? "is" : "are"} left out.`,
      " A click on a cell shows its distribution.",
    ),
    scale(map),
    chart({
      label: `Drift of ${plural(map.columns.length, "column")} on ${plural(map.partitions.length, "partition")}; ${count(drifted)} cells counted as drift.`,
      height: map.columns.length * ROW_PX + 50,
      width: map.partitions.length * CELL_PX + 180,
      draw: (colours) => heatMap(map, colours),
      table: () => asTable(map),
      onpick: (point) => open(map.columns[point.y], map.partitions[point.x]),
    }),
    chooser(map, open),
    box,
  ];
}

/** The same as a click on a cell, by keyboard. */
function chooser(map, open) {
  const options = (names) => names.map((one) => [one, shorten(one, 60)]);
  const form = h(
    "form",
    {
      class: "row chooser",
      onsubmit: (event) => {
        event.preventDefault();
        const chosen = new FormData(form);
        open(chosen.get("column"), chosen.get("partition"));
      },
    },
    field({ name: "column", label: "Column", options: options(map.columns) }),
    field({ name: "partition", label: "Partition", options: options([...map.partitions].reverse()) }),
    h("button", { type: "submit" }, "Show distribution"),
  );
  return form;
}

/** Where the colours end: one column that has moved out of all bounds must not hide the others. */
function strongest(map) {
  const most = Math.max(...map.effects.flat().filter((one) => one !== null));
  return Math.min(Math.max(most, map.threshold * 2), map.threshold * MOST);
}

/** Where an effect's colour is, from 0 to 1. What lies below the threshold has its own part, however far others go. */
function strength(effect, threshold, most) {
  if (effect <= threshold) return (MIDDLE * Math.max(effect, 0)) / threshold;
  return MIDDLE + ((1 - MIDDLE) * (Math.min(effect, most) - threshold)) / (most - threshold);
}

/** What the colours mean. (Plotly's own bar sets inline styles.) */
function scale(map) {
  const most = strongest(map);
  const middle = `${MIDDLE * 100}%`;
  const tick = (value, place, more) => h("span", { css: { left: place } }, digits(value), more);
  return h(
    "div",
    { class: "scale", "aria-hidden": "true" },
    h("div", {
      class: "colours",
      css: {
        "background-image": `linear-gradient(to right, var(--raised), var(--dot-amber) ${middle}, var(--dot-red))`,
      },
    }),
    h(
      "div",
      { class: "ticks" },
      tick(0, "0%"),
      tick(map.threshold, middle),
      tick(most, "100%", most === map.threshold * MOST && " and more"),
    ),
  );
}

function heatMap(map, colours) {
  const every = Math.max(1, Math.ceil(map.partitions.length / TICKS));
  const ticks = map.partitions.map((_, index) => index).filter((index) => index % every === 0);
  const axis = { showgrid: false, zeroline: false, fixedrange: true };
  return {
    data: [cells(map, colours), marks(map, colours)],
    layout: {
      xaxis: {
        ...axis,
        range: [-0.5, map.partitions.length - 0.5],
        tickvals: ticks,
        ticktext: ticks.map((one) => plain(map.partitions[one])),
      },
      yaxis: {
        ...axis,
        range: [map.columns.length - 0.5, -0.5],
        tickvals: map.columns.map((_, index) => index),
        ticktext: map.columns.map((one) => plain(shorten(one, 28))),
      },
    },
  };
}

function cells(map, colours) {
  const most = strongest(map);
  const hover = (effect, x, y) =>
    [
      plain(shorten(map.columns[y], 60)),
      plain(map.partitions[x]),
      digits(effect) + (map.drifted[y][x] ? ", drifted" : ""),
    ].join("<br>");
  return {
    type: "heatmap",
    zmin: 0,
    zmax: 1,
    xgap: 1,
    ygap: 1,
    showscale: false,
    hoverinfo: "text",
    hoverongaps: false,
    z: map.effects.map((row) => row.map((one) => (one === null ? null : strength(one, map.threshold, most)))),
    colorscale: [
      [0, colours.raised],
      [MIDDLE, colours["dot-amber"]],
      [1, colours["dot-red"]],
    ],
    text: map.effects.map((row, y) => row.map((effect, x) => hover(effect, x, y))),
  };
}

/** What counted as drift is marked by more than a colour. */
function marks(map, colours) {
  const found = map.drifted.flatMap((row, y) => row.flatMap((is, x) => (is ? [{ x, y }] : [])));
  return {
    type: "scatter",
    mode: "markers",
    x: found.map((one) => one.x),
    y: found.map((one) => one.y),
    hoverinfo: "skip",
    showlegend: false,
    marker: { symbol: "x-thin", size: 6, line: { width: 1.5, color: colours.text } },
  };
}

function asTable(map) {
  const rows = map.columns
    .flatMap((column, y) =>
      map.partitions.map((partition, x) => ({ column, partition, effect: map.effects[y][x], is: map.drifted[y][x] })),
    )
    .filter((one) => one.effect !== null && (one.is || one.partition === map.partitions.at(-1)));
  return table({
    caption: "Drift that counted, and all of the newest partition",
    rows,
    columns: [
      { title: "Column", head: true, cell: (one) => named(one.column) },
      { title: "Partition", cell: (one) => named(one.partition) },
      { title: "Effect", number: true, cell: (one) => digits(one.effect) },
      { title: "Drifted", cell: (one) => (one.is ? "yes" : "no") },
    ],
  });
}

function distribution(found) {
  const bins = found.labels.map((label, index) => ({
    label,
    index,
    reference: found.reference[index],
    current: found.current[index],
  }));
  const range =
    found.mean === null
      ? ""
      : ` Mean ${digits(found.mean)}, from ${digits(found.minimum)} to ${digits(found.maximum)}.`;
  return h(
    "div",
    { class: "block", role: "status" },
    h("h3", {}, named(shorten(found.column, 100)), " on ", named(found.partition)),
    h(
      "p",
      { class: "small" },
      `${plural(found.rows, "row")} beside ${plural(found.reference_rows, "row")} that version ${found.version} learned from.${range}`,
    ),
    chart({
      label: `Distribution of ${found.column} on ${found.partition} beside the reference`,
      height: 280,
      draw: (colours) => bars(found, colours),
      table: () =>
        table({
          caption: "Share of rows by bin",
          rows: bins,
          columns: [
            { title: "Bin", head: true, cell: (one) => named(one.label) },
            { title: "Reference", number: true, cell: (one) => percent(one.reference) },
            { title: found.partition, number: true, cell: (one) => percent(one.current) },
          ],
        }),
    }),
  );
}

function bars(found, colours) {
  const x = found.labels.map((_, index) => index);
  const bar = (name, y, color) => ({
    type: "bar",
    name: plain(name),
    x,
    y,
    marker: { color },
    hoverinfo: "text",
    textposition: "none",
    text: found.labels.map((label, index) => `${plain(shorten(label, 60))}<br>${plain(name)}: ${percent(y[index])}`),
  });
  return {
    data: [
      bar(`reference of version ${found.version}`, found.reference, colours["dot-grey"]),
      bar(found.partition, found.current, colours["dot-blue"]),
    ],
    layout: {
      barmode: "group",
      bargap: 0.2,
      margin: { l: 50, r: 14, t: 36, b: 40 },
      xaxis: { tickvals: x, ticktext: found.labels.map((one) => plain(shorten(one, 18))) },
      yaxis: { tickformat: ",.0%" },
    },
  };
}
