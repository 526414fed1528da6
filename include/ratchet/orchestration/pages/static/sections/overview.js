// Under way: the hand-over with its evidence, incidents, requests to retrain, and a silence.
import { acknowledgeButton } from "../actions.js";
import { h, named } from "../dom.js";
import { ago, at } from "../format.js";
import { badge, foldable, note, table, tree } from "../parts.js";

const STATUS = { running: "info", waiting_approval: "warn", paused: "warn", finished: "good", reverted: "bad" };

export function showOverview(body, { model, may }, key) {
  body.append(
    ...[
      silence(model.silence),
      h(
        "div",
        { class: "columns" },
        block("Hand-over", model.rollout ? handOver(model.rollout) : note("No version was handed over yet.")),
        h(
          "div",
          { class: "stack" },
          block("Incidents", incidents(model.incidents, may, key)),
          block("Requests to retrain that wait", wishes(model.wishes)),
        ),
      ),
    ].filter(Boolean),
  );
}

function block(title, ...children) {
  return h("div", { class: "block" }, h("h3", {}, title), children);
}

function silence(one) {
  if (!one) return null;
  return h(
    "div",
    { class: "alert warn" },
    h(
      "p",
      {},
      "Silent until ",
      at(one.until),
      ": nobody is called. By ",
      named(one.by),
      ", ",
      ago(one.since),
      ": ",
      foldable(one.reason, 200),
    ),
  );
}

function handOver(rollout) {
  const versions =
    rollout.challenger === null
      ? `version ${rollout.champion}`
      : `version ${rollout.champion} → version ${rollout.challenger}`;
  return [
    h(
      "p",
      { class: "row" },
      h("b", {}, versions),
      badge(rollout.status, STATUS[rollout.status]),
      h("span", { class: "quiet" }, rollout.strategy),
    ),
    h(
      "ol",
      { class: "steps", "aria-label": "stages" },
      rollout.stages.map((name, index) => stage(name, index, rollout)),
    ),
    h(
      "p",
      { class: "small" },
      "Began ",
      at(rollout.started_at),
      ", in this stage since ",
      at(rollout.stage_since),
      " (the records' time)",
    ),
    h("p", {}, badge(rollout.action), " by ", named(rollout.actor), ": ", foldable(rollout.reason, 240)),
    Object.keys(rollout.evidence).length > 0 &&
      h("details", { open: rollout.is_active }, h("summary", {}, "Evidence"), evidence(rollout.evidence)),
  ];
}

function stage(name, index, rollout) {
  const isDone = index < rollout.stage || rollout.status === "finished";
  const isNow = index === rollout.stage && rollout.is_active;
  return h(
    "li",
    { class: isDone ? "done" : isNow ? "now" : "", "aria-current": isNow && "step" },
    h("span", { "aria-hidden": "true" }, isDone ? "✓ " : isNow ? "● " : ""),
    named(name),
    isDone && h("span", { class: "unseen" }, " (done)"),
  );
}

/** Champion and challenger beside each other where both have a number; the rest as it is. */
function evidence(found) {
  const { champion, challenger, ...rest } = found;
  if (!champion || typeof champion !== "object") return tree(found);
  const arms = { champion: flatten(champion), challenger: flatten(challenger ?? {}) };
  const names = [...new Set([...Object.keys(arms.champion), ...Object.keys(arms.challenger)])];
  return h(
    "div",
    { class: "stack" },
    table({
      caption: "Evidence of both versions",
      isCompact: true,
      rows: names,
      columns: [
        { title: "Number", head: true, cell: (name) => name },
        { title: "Champion", number: true, cell: (name) => tree(arms.champion[name]) },
        ...(challenger ? [{ title: "Challenger", number: true, cell: (name) => tree(arms.challenger[name]) }] : []),
      ],
    }),
    tree(rest),
  );
}

function flatten(content, before = "") {
  return Object.fromEntries(
    Object.entries(content).flatMap(([name, value]) => {
      const path = `${before}${name.replaceAll("_", " ")}`;
      return value && typeof value === "object" && !Array.isArray(value)
        ? Object.entries(flatten(value, `${path}: `))
        : [[path, value]];
    }),
  );
}

function incidents(all, may, key) {
  const open = all.filter((one) => one.is_open);
  const closed = all.filter((one) => !one.is_open);
  return [
    open.length ? open.map((one) => incident(one, may, key)) : note("No incident is open."),
    closed.length > 0 &&
      h(
        "details",
        {},
        h("summary", {}, `${closed.length} earlier`),
        closed.map((one) => incident(one, may, key)),
      ),
  ];
}

function incident(one, may, key) {
  return h(
    "div",
    { class: "item" },
    h(
      "p",
      { class: "row" },
      h("b", {}, `Incident ${one.number}`),
      badge(one.is_open ? "open" : "over", one.is_open ? "bad" : ""),
      one.kinds.map((kind) => badge(kind)),
      h("span", { class: "small" }, "asked for: ", one.worst, one.cause && ` · cause: ${one.cause}`),
    ),
    h("p", {}, foldable(one.words, 240)),
    h(
      "p",
      { class: "small" },
      "since ",
      at(one.opened_at),
      one.closed_at && [" until ", at(one.closed_at)],
      one.version !== null && ` · version ${one.version}`,
      " · ",
      named(one.partition),
    ),
    one.acknowledged_by &&
      h(
        "p",
        { class: "small" },
        "Known to ",
        named(one.acknowledged_by),
        one.acknowledged_at && [", ", ago(one.acknowledged_at)],
        one.note && [": ", foldable(one.note, 200)],
      ),
    one.is_open && may.note && !one.acknowledged_by && acknowledgeButton(one, key),
  );
}

function wishes(all) {
  if (!all.length) return note("None waits.");
  return all.map((one) =>
    h(
      "div",
      { class: "item" },
      h("p", {}, foldable(one.reason, 240)),
      h("p", { class: "small" }, "by ", named(one.by), ", ", ago(one.at)),
    ),
  );
}
