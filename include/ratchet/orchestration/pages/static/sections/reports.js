// Pages that were drawn of a model, shown here when they are opened, and the newest backtest.
import { getOf } from "../api.js";
import { chart, plain } from "../charts.js";
import { h, named, show } from "../dom.js";
import { count, digits, interval, shorten, signed, words } from "../format.js";
import { outside } from "../links.js";
import { badge, fill, note, table } from "../parts.js";

export function showReports(body, { model }, key) {
  const slug = encodeURIComponent(model.row.slug);
  const cards = model.aliases.map((one) => ({
    subject: `${one.alias}, version ${one.version}`,
    path: `cards/${slug}/${one.version}/`,
  }));
  return fill(
    body,
    () => getOf(key, "/reports"),
    (found) => {
      const viewer = h("div", { class: "viewer" });
      const groups = [
        ["Model cards", cards],
        ["What moved", found.drift],
        ["Data validations", found.docs],
      ];
      return [
        groups.map(([title, pages]) => group(title, pages, viewer)),
        viewer,
        h(
          "div",
          { class: "block" },
          h("h3", {}, "Backtest"),
          found.backtest
            ? backtest(found.backtest)
            : note(
                "None was run. ",
                h("code", {}, `backtest_${key.name}`),
                " compares policies of retraining on the past.",
              ),
        ),
      ];
    },
  );
}

function group(title, pages, viewer) {
  return h(
    "div",
    { class: "row" },
    h("h3", { class: "kind" }, title),
    pages.length
      ? pages.map((one) => opener(`${title}: ${one.subject}`, one, viewer))
      : h("span", { class: "quiet" }, "none"),
  );
}

function opener(title, page, viewer) {
  const button = h(
    "button",
    {
      type: "button",
      "aria-pressed": "false",
      onclick: () => {
        const isOpen = button.getAttribute("aria-pressed") === "true";
        for (const one of viewer.parentElement.querySelectorAll("[aria-pressed=true]"))
          one.setAttribute("aria-pressed", "false");
        if (isOpen) return show(viewer);
        button.setAttribute("aria-pressed", "true");
        return show(
          viewer,
          h("p", { class: "row" }, h("b", {}, named(title)), outside("open", page.path, { tab: true })),
          h("iframe", { src: page.path, title }),
        );
      },
    },
    named(shorten(page.subject, 32)),
  );
  return button;
}

function backtest(found) {
  return [
    h(
      "p",
      {},
      found.recommended ? ["Recommended: ", h("b", {}, named(found.recommended)), ". "] : "Retraining does not pay. ",
      named(found.reason),
    ),
    h(
      "p",
      { class: "small" },
      `Days from ${found.first} to ${found.last}. `,
      outside("whole report", found.page, { tab: true }),
    ),
    chart({
      label: `Mean ${words(found.metric)} and number of trainings of ${found.policies.length} policies; recommended: ${found.recommended ?? "none"}`,
      height: 300,
      draw: (colours) => figure(found, colours),
      table: () => policies(found),
    }),
  ];
}

function figure(found, colours) {
  const is = found.policies.map((one) => one.name === found.recommended);
  return {
    data: [
      {
        type: "scatter",
        mode: "markers+text",
        x: found.policies.map((one) => one.fits),
        y: found.policies.map((one) => one.mean),
        error_y: {
          type: "data",
          symmetric: false,
          array: found.policies.map((one) => one.high - one.mean),
          arrayminus: found.policies.map((one) => one.mean - one.low),
          color: colours.quiet,
          thickness: 1,
        },
        marker: {
          size: is.map((one) => (one ? 14 : 9)),
          symbol: is.map((one) => (one ? "star" : "circle")),
          color: is.map((one) => (one ? colours["dot-green"] : colours["dot-blue"])),
        },
        text: found.policies.map((one) => plain(shorten(one.name, 30))),
        textposition: "middle right",
        cliponaxis: false,
        hoverinfo: "text",
        hovertext: found.policies.map(
          (one) =>
            `${plain(shorten(one.name, 60))}<br>${digits(one.mean)} ${interval(one.low, one.high)}<br>${count(one.fits)} trainings`,
        ),
      },
    ],
    layout: {
      showlegend: false,
      xaxis: { title: { text: "trainings", font: { color: colours.quiet } }, rangemode: "tozero", automargin: true },
      yaxis: { title: { text: `mean ${plain(words(found.metric))}`, font: { color: colours.quiet } } },
      margin: { l: 60, r: 120, t: 14, b: 44 },
    },
  };
}

function policies(found) {
  return table({
    caption: "Policies of retraining",
    rows: found.policies,
    columns: [
      {
        title: "Policy",
        head: true,
        cell: (one) => [named(one.name), one.name === found.recommended && [" ", badge("recommended", "good")]],
      },
      {
        title: `Mean ${words(found.metric)}`,
        number: true,
        cell: (one) => `${digits(one.mean)} ${interval(one.low, one.high)}`,
      },
      { title: "Gain over never retraining", number: true, cell: (one) => signed(one.gain) },
      { title: "Trainings", number: true, cell: (one) => count(one.fits) },
    ],
  });
}
