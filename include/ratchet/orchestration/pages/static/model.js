// One model key: how it is, what a person may do, and one section for each question that one has of it.
import { address, getOf, modelAddress, readKey } from "./api.js";
import { actionButtons, approvalButtons } from "./actions.js";
import { h, named, show } from "./dom.js";
import { ago, at, digits, interval, plural } from "./format.js";
import { outside, runLink } from "./links.js";
import { badge, facts, failure, fill, foldable, healthWord, note } from "./parts.js";
import { trafficCell } from "./fleet.js";
import { showCandidates } from "./sections/candidates.js";
import { showDrift } from "./sections/drift.js";
import { showMetric } from "./sections/metric.js";
import { showOverview } from "./sections/overview.js";
import { showReports } from "./sections/reports.js";
import { showTimeline } from "./sections/timeline.js";

const SECTIONS = [
  ["overview", "Overview", showOverview],
  ["metric", "Metric over time", showMetric],
  ["drift", "Drift", showDrift],
  ["candidates", "Candidates", showCandidates],
  ["timeline", "Timeline", showTimeline],
  ["reports", "Reports", showReports],
];
const DAGS = ["train", "ingest", "score", "monitor", "rollout", "replay", "record", "backtest"];

export async function showModel(content) {
  const key = readKey();
  if (!key.name)
    return show(
      content,
      h("h1", {}, "Model"),
      note("No model is named. ", h("a", { href: "models" }, "To all models")),
    );
  const box = h("div", { class: "stack" });
  const health = h("span");
  show(content, crumbs(key), title(key, health), box);
  const load = () => getOf(key);
  return fill(box, load, (page) => {
    show(health, healthWord(page.model.row.health));
    return showAll(page, key);
  });
}

function title({ name, segment }, health) {
  if (segment === "all") return h("div", { class: "row" }, h("h1", {}, named(name)), health);
  return h(
    "div",
    { class: "row" },
    h("h1", {}, named(segment)),
    health,
    h("span", { class: "quiet" }, "segment of ", named(name)),
  );
}

function crumbs(key) {
  const isWhole = key.segment === "all";
  return h(
    "nav",
    { class: "crumbs", "aria-label": "where you are" },
    h("a", { href: "models" }, "Models"),
    " / ",
    isWhole
      ? named(key.name)
      : [
          h("a", { href: modelAddress({ name: key.name }) }, named(key.name)),
          " / ",
          h("a", { href: address("models", { model: key.name }) }, "Segments"),
          " / ",
          named(key.segment),
        ],
  );
}

function showAll(page, key) {
  const sections = SECTIONS.map(([id, heading, render]) => {
    const body = h("div", { class: "stack" });
    const element = h(
      "section",
      { id, "aria-labelledby": `${id}-title` },
      h("h2", { id: `${id}-title` }, heading),
      body,
    );
    return { element, loaded: load(render, body, page, key) };
  });
  jumpWhenLoaded(sections.map(({ loaded }) => loaded));
  return [
    head(page, key),
    h(
      "nav",
      { class: "inside", "aria-label": "sections" },
      SECTIONS.map(([id, heading]) => h("a", { href: `#${id}` }, heading)),
    ),
    sections.map(({ element }) => element),
    links(page, key),
  ];
}

/** One section's trouble is no other's. */
async function load(render, body, page, key) {
  try {
    await render(body, page, key);
  } catch (error) {
    console.error(error);
    show(body, failure(error));
  }
}

/** The browser jumps to an address's section before there is any: do it again once all are in place. */
async function jumpWhenLoaded(loaded) {
  let isMoved = false;
  for (const kind of ["wheel", "touchmove", "keydown", "pointerdown"])
    addEventListener(
      kind,
      () => {
        isMoved = true;
      },
      { once: true, passive: true },
    );
  await Promise.allSettled(loaded);
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && !isMoved) target.scrollIntoView();
}

function head(page, key) {
  const { model } = page;
  const { row, spec } = model;
  return h(
    "header",
    { class: "head stack" },
    h("p", { class: "lead" }, foldable(row.why, 300)),
    spec?.description && h("p", { class: "quiet lead" }, named(spec.description)),
    spec?.problem && h("p", { class: "quiet lead" }, "Problem: ", named(spec.problem)),
    model.problem &&
      h(
        "div",
        { class: "alert bad", role: "alert" },
        h("p", {}, "Its spec cannot be read:"),
        h("pre", {}, model.problem),
      ),
    model.guard &&
      h(
        "div",
        { class: "alert warn", role: "alert" },
        h("p", {}, "All hand-overs are stopped by the fleet's guard: ", named(model.guard)),
      ),
    facts([
      ["Next", [row.next, row.next_at && [", ", ago(row.next_at)]]],
      ["Metric now", row.measure && metricNow(row.measure, spec)],
      ["Traffic", row.traffic.length && trafficCell(row.traffic)],
      ["Owner", row.owner && named(row.owner)],
      ["Last training", row.training && [row.training.outcome, ", ", ago(row.training.at)]],
      ["Trained", spec && (spec.schedule ? ["by schedule ", h("code", {}, spec.schedule)] : "on request")],
      ["Handed over", spec && [spec.strategy, spec.needs_approval && ", after approval"]],
      ["Worth is counted in", spec?.worth && named(spec.worth)],
      ["Segments", segmentsCell(row, spec, key)],
    ]),
    aliases(model, key),
    actionButtons(page, key),
    page.may.approve && questions(key),
  );
}

function metricNow(measure, spec) {
  return [
    h("b", {}, digits(measure.value)),
    " ",
    spec && `${spec.metric.replaceAll("_", " ")} `,
    measure.kind === "estimated" && badge("estimated"),
    typeof measure.expected === "number" &&
      h("div", { class: "small" }, `expected ${digits(measure.expected)} ${interval(measure.low, measure.high)}`),
  ];
}

function segmentsCell(row, spec, key) {
  if (key.segment !== "all" || !(row.segments || spec?.segments_by.length)) return null;
  return h(
    "a",
    { href: address("models", { model: key.name }) },
    row.segments ? plural(row.segments, "segment") : "none yet",
    spec?.segments_by.length > 0 && ` by ${spec.segments_by.join(", ")}`,
  );
}

function aliases(model, key) {
  if (!model.aliases.length) return note("No version has a name yet: none has passed its gates.");
  const slug = encodeURIComponent(model.row.slug);
  return h(
    "ul",
    { class: "aliases", "aria-label": "versions with a name" },
    model.aliases.map((one) =>
      h(
        "li",
        {},
        badge(one.alias, { champion: "good", challenger: "warn" }[one.alias]),
        h("b", {}, `v${one.version}`),
        one.as_of && h("span", { class: "small" }, "knew ", at(one.as_of)),
        outside("MLflow", one.url, { tab: true }),
        outside("card", `cards/${slug}/${one.version}/`, { tab: true }),
        h("a", { href: modelAddress(key, { version: one.version }) + "#candidates" }, "details"),
      ),
    ),
  );
}

/** Runs that wait for a person's word; nothing if none does. */
function questions(key) {
  const box = h("div", { class: "stack" });
  fill(
    box,
    () => getOf(key, "/questions"),
    (found) =>
      found.map((one) =>
        h(
          "div",
          { class: "alert info" },
          h("h2", {}, named(one.subject)),
          h("p", { class: "small" }, "waits for a person since ", ago(one.since), " · ", runLink(one.dag, one.run)),
          one.body && h("pre", { tabindex: "0" }, one.body),
          approvalButtons(one, key),
        ),
      ),
  );
  return box;
}

function links({ model }, key) {
  const { name } = key;
  return h(
    "nav",
    { class: "elsewhere", "aria-label": "elsewhere" },
    h("h2", {}, "Elsewhere"),
    h(
      "div",
      { class: "row" },
      DAGS.map((kind) => outside(`${kind}_${name}`, `../dags/${encodeURIComponent(`${kind}_${name}`)}`)),
      outside("MLflow", model.mlflow, { tab: true }),
      h("a", { href: address("requests", { name, segment: key.segment === "all" ? "" : key.segment }) }, "Requests"),
    ),
  );
}
