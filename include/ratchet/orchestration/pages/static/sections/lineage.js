// What a version was made from, step by step: from the tables to the requests that it answered.
import { address } from "../api.js";
import { h, named } from "../dom.js";
import { at, count } from "../format.js";
import { outside } from "../links.js";
import { badge, facts, tree } from "../parts.js";

/** Each step with what decides the next one. */
export function showLineage({ lineage: made, snapshot, version, url }, key) {
  const tables = Object.entries(snapshot.sources ?? made.source_versions);
  const requests = address("requests", { name: key.name, segment: key.segment === "all" ? "" : key.segment, version });
  return h(
    "div",
    { class: "block" },
    h("h3", {}, "What it was made from"),
    h(
      "ol",
      { class: "lineage" },
      step("Tables", facts(tables.map(([name, number]) => [named(name), `table version ${number}`]))),
      trainingSet(snapshot),
      training(made),
      code(made),
      step(`Version ${version}`, h("p", {}, outside("its page in MLflow", url, { tab: true }))),
      step(
        "Requests",
        h(
          "p",
          {},
          h("a", { href: requests }, "requests answered by it"),
          " · ",
          h("a", { href: `${requests}&origin=scores` }, "scores by it"),
        ),
      ),
    ),
  );
}

function trainingSet(snapshot) {
  return step(
    "Training set",
    facts([
      ["Rows", count(snapshot.rows)],
      ["From", at(snapshot.window_start)],
      ["Known at", at(snapshot.as_of)],
      ["Id", hash(snapshot.id)],
      ["Content", hash(snapshot.content_hash)],
      ["Query", hash(snapshot.query_hash)],
    ]),
    long(`${snapshot.columns.length} columns`, Object.fromEntries(snapshot.columns)),
  );
}

function training(made) {
  return step(
    "Training",
    facts([
      ["Estimator", made.candidate],
      ["Search", made.search && `${made.search.strategy}, ${made.search.trials} trials`],
      ["Seed", made.seed],
      ["Learned on from", made.base && `version ${made.base}`],
      ["Python", made.python],
    ]),
    long("Parameters", made.params ?? {}),
    long(`${(made.features ?? []).length} features`, made.features ?? []),
  );
}

function code(made) {
  return step(
    "Code",
    facts([
      ["Commit", [hash(made.git_commit), made.is_dirty && [" ", badge("with changes", "warn")]]],
      ["Spec", hash(made.spec_hash)],
      ["Code", hash(made.code_hash)],
      ["Packages", hash(made.lock_hash)],
    ]),
  );
}

function step(title, ...children) {
  return h("li", {}, h("h4", {}, title), children);
}

function long(title, value) {
  return h("details", {}, h("summary", {}, title), tree(value));
}

function hash(text) {
  return text ? h("code", { title: text }, text.length > 16 ? `${text.slice(0, 12)}…` : text) : null;
}
