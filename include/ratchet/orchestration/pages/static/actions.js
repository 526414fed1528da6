// What a person may do with a model: one button for each order that fits its state.
import { h, named } from "./dom.js";
import { openOrder } from "./orders.js";

const HOURS = [
  [1, "1 hour"],
  [8, "8 hours"],
  [24, "1 day"],
  [72, "3 days"],
  [168, "7 days"],
];
const SEARCHES = ["grid", "random", "tpe", "halving"];

/** The buttons of a model's head. */
export function actionButtons({ model, may }, key) {
  const found = [];
  if (may.retrain && model.spec) found.push(button("Retrain", () => askRetrain(model, key)));
  if (may.rollout) found.push(...handOverButtons(model, key));
  if (may.note) found.push(...silenceButtons(model, key));
  return found.length ? h("div", { class: "row actions", role: "group", "aria-label": "actions" }, found) : null;
}

function button(text, onclick, isGrave = false) {
  return h("button", { type: "button", class: isGrave && "grave", onclick }, text);
}

function subject(key) {
  return key.segment === "all"
    ? h("b", {}, named(key.name))
    : [h("b", {}, named(key.name)), ", segment ", h("b", {}, named(key.segment))];
}

function askRetrain({ spec }, key) {
  const isDivided = spec.segments_by.length > 0 && key.segment === "all";
  const asSpec = (value) => `as in the spec: ${value}`;
  openOrder({
    key,
    title: "Retrain",
    button: "Start the training",
    path: "/actions/retrain",
    says: h(
      "p",
      {},
      "Starts a run of ",
      h("code", {}, `train_${key.name}`),
      ". A new version of ",
      subject(key),
      " is trained and judged by its gates. If it passes, it is handed over as the spec says.",
    ),
    fields: [
      { name: "as_of", label: "Know only what was known at", hint: "Such as 2013-12-31; left out: now", maxlength: 40 },
      {
        name: "window",
        label: "Window",
        hint: `Such as 180d; ${asSpec(spec.window)}`,
        pattern: "\\d+[mhdw]",
        title: "a number and m, h, d or w",
      },
      { name: "strategy", label: "Search", options: [["", asSpec(spec.search)], ...SEARCHES.map((one) => [one, one])] },
      { name: "trials", label: "Trials", type: "number", min: 1, max: 10000, hint: asSpec(spec.trials) },
      ...(isDivided
        ? [
            {
              name: "segments",
              label: `Segments (${spec.segments_by.join(", ")}), one a line`,
              type: "lines",
              hint: "Left out: all",
            },
          ]
        : []),
      { name: "force", label: "Train even if nothing has changed", type: "checkbox" },
    ],
    body: retrainBody,
  });
}

function retrainBody(values) {
  const segments = (values.segments ?? "")
    .split("\n")
    .map((one) => one.trim())
    .filter(Boolean);
  return {
    ...(values.as_of.trim() && { as_of: values.as_of.trim() }),
    ...(values.window && { window: values.window }),
    ...(values.strategy && { strategy: values.strategy }),
    ...(values.trials && { trials: Number(values.trials) }),
    ...(segments.length && { segments }),
    force: values.force === "on",
  };
}

function handOverButtons(model, key) {
  const { rollout, row } = model;
  const active = rollout?.is_active ? rollout : null;
  const previous = model.aliases.find((one) => one.alias === "previous");
  // Of a divided model's name alone an order is for all its segments, whatever state each is in.
  const isMany = row.segments > 0 && key.segment === "all";
  const goesOn = isMany || ["running", "waiting_approval"].includes(active?.status);
  const ask = (action, says, isGrave) =>
    button(
      TITLES[action],
      () =>
        openOrder({
          key,
          title: TITLES[action],
          button: TITLES[action],
          path: `/actions/${action}`,
          isGrave,
          says: [
            h("p", {}, says),
            isMany && h("p", {}, h("b", {}, "This is for every hand-over of the model's segments too.")),
          ],
        }),
      isGrave,
    );
  return [
    goesOn &&
      ask("look", [
        "Looks at the evidence of ",
        subject(key),
        "'s hand-over now, as every hour, and does what follows from it.",
      ]),
    goesOn && ask("advance", advanceWords(active, key)),
    goesOn &&
      ask("pause", [
        "Stops ",
        subject(key),
        "'s hand-over where it is. Traffic stays divided as it is until somebody resumes or reverts it.",
      ]),
    (isMany || active?.status === "paused") &&
      ask("resume", [subject(key), "'s hand-over goes on from its stage; its evidence is counted anew."]),
    (isMany || active || previous) && ask("revert", revertWords(active, model, previous, key), true),
  ].filter(Boolean);
}

const TITLES = { look: "Look now", advance: "Advance", pause: "Pause", resume: "Resume", revert: "Revert" };

function advanceWords(active, key) {
  if (!active) return ["Moves every hand-over of ", subject(key), " to its next stage without waiting for evidence."];
  const next = active.stages[active.stage + 1];
  const version = `version ${active.challenger ?? active.champion}`;
  const what = next
    ? ["moves on from stage ", named(active.stages[active.stage]), " to ", named(next)]
    : ["ends, and it becomes champion in place of version ", active.champion];
  return ["The hand-over of ", subject(key), ` to ${version} `, what, ", without waiting for more evidence."];
}

function revertWords(active, model, previous, key) {
  if (active)
    return [
      "Ends ",
      subject(key),
      `'s hand-over: version ${active.champion} answers everything again`,
      active.challenger !== null && `, version ${active.challenger} nothing`,
      ".",
    ];
  if (previous)
    return [
      "Makes version ",
      previous.version,
      " of ",
      subject(key),
      ` champion again, in place of version ${model.row.champion}.`,
    ];
  return [
    "Ends every hand-over of ",
    subject(key),
    "; where there is none, the previous champion becomes champion again.",
  ];
}

function silenceButtons(model, key) {
  const silence = button(model.silence ? "Silence anew" : "Silence", () =>
    openOrder({
      key,
      title: "Silence",
      button: "Silence",
      path: "/silence",
      says: h(
        "p",
        {},
        "Nobody is called about ",
        subject(key),
        " for so long. What is watched stays the same, and what still lasts at its end is told then.",
      ),
      fields: [{ name: "hours", label: "For", options: HOURS }],
      body: ({ hours }) => ({ hours: Number(hours) }),
    }),
  );
  const end =
    model.silence &&
    button("End silence", () =>
      openOrder({
        key,
        title: "End the silence",
        button: "End silence",
        path: "/silence",
        body: () => ({ hours: 0 }),
        says: h("p", {}, "People are called about ", subject(key), " again from now on."),
      }),
    );
  return [silence, end].filter(Boolean);
}

/** Say that a person knows of an incident. */
export function acknowledgeButton(incident, key) {
  return button("Acknowledge", () =>
    openOrder({
      key,
      title: `Acknowledge incident ${incident.number}`,
      button: "Acknowledge",
      path: "/acknowledgement",
      body: () => ({ incident: incident.number }),
      says: [
        h(
          "p",
          {},
          "Further messages about incident ",
          incident.number,
          " of ",
          subject(key),
          " call for nobody. The reason is shown as your note.",
        ),
        h("p", { class: "quiet" }, named(incident.words)),
      ],
    }),
  );
}

/** The two answers to a run that waits for a person's word. */
export function approvalButtons(question, key) {
  const ask = (isApproved) => () =>
    openOrder({
      key,
      title: isApproved ? "Approve" : "Decline",
      button: isApproved ? "Approve" : "Decline",
      isGrave: !isApproved,
      path: "/approval",
      says: [
        h("p", {}, h("b", {}, named(question.subject))),
        h(
          "p",
          {},
          "The run ",
          h("code", {}, question.run),
          " of ",
          h("code", {}, question.dag),
          " of ",
          subject(key),
          isApproved ? " goes on with what it asks about." : " ends without it.",
        ),
      ],
      body: () => ({
        dag: question.dag,
        run: question.run,
        task: question.task,
        map_index: question.map_index,
        is_approved: isApproved,
      }),
    });
  return h(
    "div",
    { class: "row" },
    h("button", { type: "button", class: "main", onclick: ask(true) }, "Approve"),
    button("Decline", ask(false), true),
  );
}
