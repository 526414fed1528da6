// What the ledger has of a model key, newest first.
import { getOf, query } from "../api.js";
import { h, named } from "../dom.js";
import { ago, at, shorten } from "../format.js";
import { runLink } from "../links.js";
import { badge, fill, foldable, note, pager } from "../parts.js";

const LIMIT = 20;
const KINDS = {
  promotion: "good",
  revert: "bad",
  failure: "bad",
  incident: "bad",
  rollout: "info",
  approval: "info",
  request: "warn",
  action: "info",
};

export function showTimeline(body, page, key) {
  const offset = query.get("events") ?? "";
  return fill(
    body,
    () => getOf(key, "/timeline", { offset, limit: LIMIT }),
    (timeline) =>
      timeline.events.length
        ? [h("ol", { class: "events" }, timeline.events.map(event)), pager(timeline, "events", "#timeline")]
        : note("Nothing has happened to it yet."),
  );
}

function event(one) {
  return h(
    "li",
    {},
    h("div", { class: "small" }, one.kind === "incident" ? [at(one.at), " (records' time)"] : ago(one.at)),
    h("div", {}, badge(one.kind, KINDS[one.kind])),
    h(
      "div",
      {},
      h("p", {}, h("b", {}, named(one.title))),
      h("p", {}, foldable(one.reason, 240)),
      h(
        "p",
        { class: "small" },
        "by ",
        named(shorten(one.actor, 60)),
        one.as_of && [" · knew ", at(one.as_of)],
        one.run && [" · ", runLink(one.run[0], one.run[1])],
      ),
    ),
  );
}
