// One record: everything that was kept of it, and the same question asked again.
import { getOf, here, postOf } from "./api.js";
import { h, named, show } from "./dom.js";
import { at } from "./format.js";
import { runLink } from "./links.js";
import { field } from "./orders.js";
import { facts, fill, table, tree } from "./parts.js";
import { showReplay } from "./replay.js";
import { makeOnce, watchRun } from "./runs.js";

const TIMES = /_(time|at)$/;

export function showRecord(box, key, chosen) {
  box.hidden = false;
  const load = async () => {
    const [record, page] = await Promise.all([getOf(key, "/record", chosen), getOf(key)]);
    return { record, may: page.may };
  };
  return fill(box, load, ({ record, may }) => [
    h(
      "div",
      { class: "row" },
      h("h2", {}, named(chosen.request_id)),
      h("span", { class: "quiet" }, `row ${chosen.row}`),
      h("a", { href: here({ record: "", row: "", by: "" }) }, "Close"),
    ),
    may.replay && replayForm(key, chosen, record.columns),
    h(
      "div",
      { class: "columns" },
      h(
        "div",
        { class: "stack" },
        block(
          "Recorded",
          facts(
            Object.entries(record.columns).map(([name, value]) => [name.replaceAll("_", " "), valueOf(name, value)]),
          ),
        ),
        block("Feedback", feedback(record.feedback)),
      ),
      h(
        "div",
        { class: "stack" },
        block("Asked (payload)", json(record.payload)),
        block("Answered (output)", json(record.output)),
      ),
    ),
    features(record.features),
  ]);
}

function block(title, ...children) {
  return h("div", { class: "block" }, h("h3", {}, title), children);
}

/** Recorded numbers are shown whole: their last digits are what a replay compares. */
function valueOf(name, value) {
  if (value === null) return h("span", { class: "quiet" }, "null");
  if (TIMES.test(name) && typeof value === "string") return at(value);
  return typeof value === "object" ? tree(value) : named(String(value));
}

function json(value) {
  return h("pre", { tabindex: "0" }, typeof value === "string" ? value : JSON.stringify(value, null, 2));
}

function feedback(all) {
  if (!all.length) return h("p", { class: "quiet" }, "None has come.");
  return table({
    caption: "Feedback, oldest first",
    rows: all,
    columns: [
      { title: "Kind", head: true, cell: (one) => one.kind },
      { title: "Value", cell: (one) => named(JSON.stringify(one.value)) },
      { title: "Known", cell: (one) => at(one.available_time) },
      { title: "Came", cell: (one) => at(one.received_at) },
      { title: "From", cell: (one) => (one.caller ? named(one.caller) : "–") },
    ],
  });
}

function features(all) {
  const rows = Object.entries(all);
  return h(
    "details",
    { open: rows.length <= 60 },
    h("summary", {}, `${rows.length} features`),
    h(
      "dl",
      { class: "facts features" },
      rows.map(([name, value]) => h("div", {}, h("dt", {}, named(name)), h("dd", {}, valueOf(name, value)))),
    ),
  );
}

function replayForm(key, chosen, recorded) {
  const result = h("div", { class: "stack" });
  const button = h("button", { type: "submit", class: "main" }, "Replay");
  const form = h(
    "form",
    {
      class: "row chooser",
      onsubmit: async (event) => {
        event.preventDefault();
        const other = new FormData(form).get("with_version");
        button.disabled = true;
        await replay(
          key,
          { request_id: chosen.request_id, origin: chosen.origin, ...(other && { with_version: Number(other) }) },
          result,
          recorded,
        );
        button.disabled = false;
      },
    },
    field({ name: "with_version", label: "Compare with version", type: "number", min: 1 }),
    button,
    h(
      "span",
      { class: "small" },
      "The version that answered is asked again, from the recorded features, and the features are computed anew from the tables. The whole request is replayed; nothing is changed.",
    ),
  );
  return h("div", { class: "block" }, h("h3", {}, "Ask again"), form, result);
}

async function replay(key, asked, box, recorded) {
  const state = h("p", { role: "status" }, "Sending…");
  show(box, state);
  try {
    const done = await postOf(key, "/replay", { ...asked, once: makeOnce() });
    show(box, state, h("p", {}, runLink(done.run.dag, done.run.run)));
    const found = await watchRun(key, done.run, (words) => {
      state.textContent = words;
    });
    if (found.result !== null) box.append(...showReplay(found.result, recorded));
    else if (found.state === "success") state.textContent = "The run has ended, but has no result; see it in Airflow.";
    // A replay whose bits differ fails on purpose, so that somebody is told: that is a result, not a fault.
    if (found.result !== null && found.state === "failed")
      state.textContent = "The run has failed, as it does if a bit differs.";
  } catch (error) {
    show(box, h("div", { role: "alert", class: "alert bad" }, error.message));
  }
}
