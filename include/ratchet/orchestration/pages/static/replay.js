// What came of asking again: the same bits or not, the same features or not, and what another version says.
import { flat, h, named } from "./dom.js";
import { count, digits, percent, plural, signed, words } from "./format.js";
import { badge, facts, foldable, measured, note, table } from "./parts.js";

const CAUSES = {
  online: "the service knew less than the tables",
  changed: "the tables changed after the answer",
  both: "the service knew less, and the tables changed",
  code: "the code has changed since",
  unknown: "for no reason that is known",
};

/** The parts of a replay's result; `recorded` is the record that was looked at. */
export function showReplay(result, recorded) {
  return flat([
    verdict(result),
    result.answers.map((one) => answer(one, recorded)),
    features(result.features),
    whatIf(result.what_if),
  ]);
}

function verdict(result) {
  return h(
    "div",
    { class: `alert ${result.is_identical ? "good" : "bad"}`, role: "status" },
    h(
      "b",
      {},
      !result.answers.length
        ? "Nothing could be answered again."
        : result.is_identical
          ? "✓ Identical to the bit."
          : "✗ Not identical.",
    ),
    h("p", {}, named(result.summary)),
    result.unanswered > 0 &&
      h("p", {}, `${plural(result.unanswered, "record")} without a score cannot be answered again.`),
  );
}

/** Scores whole, as their last bits are the question. */
function answer(one, recorded) {
  // A result lists what differs only: if nothing does, the new score of the record is the recorded one.
  const isSame = one.is_identical && one.version === recorded.version && recorded.score !== null;
  const rows = isSame
    ? [{ request_id: recorded.request_id, row: recorded.row, recorded: recorded.score, again: recorded.score }]
    : one.differences;
  const title = `Version ${one.version}${one.segment === "all" ? "" : `, segment ${one.segment}`}: ${one.identical} of ${plural(one.rows, "answer")} the same to the bit`;
  return h(
    "div",
    { class: "item" },
    h(
      "p",
      {},
      named(title),
      one.alone > 0 && `; ${one.alone} only if asked alone, not in one batch`,
      one.identical < one.rows && `; largest difference ${one.largest_difference}`,
      ".",
    ),
    rows.length > 0 &&
      table({
        caption: isSame ? "The record's answer" : "Answers that differ",
        rows,
        columns: [
          { title: "Request", head: true, cell: (row) => [named(row.request_id), `, row ${row.row}`] },
          { title: "Recorded", number: true, cell: (row) => String(row.recorded) },
          { title: "Now", number: true, cell: (row) => String(row.again) },
        ],
      }),
  );
}

function features(found) {
  const left = Object.entries(found.left_out);
  const names = Object.keys(found.columns);
  return h(
    "div",
    { class: "item" },
    h(
      "p",
      {},
      h("b", {}, "Features"),
      ` computed again from the tables: the same in ${found.equal} of ${plural(found.rows, "row")}`,
      found.unexplained > 0 && [", ", badge(`${found.unexplained} unexplained`, "bad")],
      ".",
    ),
    names.length > 0 &&
      h(
        "p",
        { class: "small" },
        `${plural(names.length, "feature")} ${names.length === 1 ? "differs" : "differ"}: `,
        foldable(names.join(", "), 200),
      ),
    found.explanations.length > 0 &&
      h(
        "ul",
        {},
        found.explanations.map((one) =>
          h("li", {}, `${plural(one.rows, "row")} (${CAUSES[one.cause] ?? one.cause}): `, named(one.words)),
        ),
      ),
    found.differences.length > 0 &&
      table({
        caption: "Features that differ",
        rows: found.differences,
        columns: [
          { title: "Feature", head: true, cell: (one) => named(one.feature) },
          { title: "Row", number: true, cell: (one) => one.row },
          { title: "Recorded", number: true, cell: (one) => named(String(one.recorded)) },
          { title: "Now", number: true, cell: (one) => named(String(one.recomputed)) },
          { title: "Why", cell: (one) => CAUSES[one.cause] ?? one.cause },
        ],
      }),
    left.length > 0 &&
      h(
        "details",
        {},
        h("summary", {}, `${left.length} not compared`),
        facts(left.map(([name, why]) => [named(name), named(why)])),
      ),
  );
}

function whatIf(found) {
  if (!found) return null;
  const metric = found.metric;
  return h(
    "div",
    { class: "item" },
    h(
      "p",
      {},
      h("b", {}, `Version ${found.version}`),
      found.segment !== "all" && [", segment ", named(found.segment)],
      ` answers ${found.changed} of ${plural(found.rows, "row")} otherwise, from ${words(found.features)} features`,
      found.changed > 0 && `; largest change of a score ${digits(found.largest_change)}`,
      found.decided_otherwise !== null && `; ${percent(found.decided_otherwise)} are decided otherwise`,
      ".",
    ),
    found.answers.length > 0 &&
      table({
        caption: "Most changed answers",
        rows: found.answers,
        columns: [
          { title: "Request", head: true, cell: (one) => [named(one.request_id), `, row ${one.row}`] },
          { title: "Recorded", number: true, cell: (one) => digits(one.before) },
          { title: `Version ${found.version}`, number: true, cell: (one) => digits(one.after) },
          { title: "Change", number: true, cell: (one) => signed(one.after - one.before) },
        ],
      }),
    metric
      ? facts([
          [`${words(metric.metric)} of the recorded, ${count(metric.rows)} labelled`, measured(metric.before)],
          [`of version ${found.version}`, measured(metric.after)],
          ["gain (positive: the other version is better)", measured(metric.gain, signed)],
        ])
      : note("No label has come, so nobody can say which answer was better."),
  );
}
