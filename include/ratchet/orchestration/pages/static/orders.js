// The dialog in which a person confirms an order: what will happen, to what, and why it is wanted.
import { postOf } from "./api.js";
import { h, show } from "./dom.js";
import { runLink } from "./links.js";
import { makeOnce, watchRun } from "./runs.js";

let numbers = 0;

/**
 * Ask for an order: `key`, `title`, `path`, the `button`'s word and whether it `isGrave`.
 * `says` is what will happen; `fields` are inputs besides the reason; `body(values)` gives what is sent besides
 * reason and `once`, from the form's values.
 */
export function openOrder(order) {
  const closing = new AbortController();
  const result = h("div", { class: "stack" });
  const send = h("button", { type: "submit", class: order.isGrave ? "grave" : "main" }, order.button);
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const reason = { name: "reason", label: "Reason, kept in the ledger", minlength: 3, maxlength: 1000, required: true };
  const inputs = h("div", { class: "fields" }, [...(order.fields ?? []), reason].map(field));
  const once = makeOnce();
  const onsubmit = async (event) => {
    event.preventDefault();
    send.disabled = true;
    show(result, h("p", { role: "status" }, "Sending…"));
    try {
      const done = await sendOrder(order, Object.fromEntries(new FormData(form)), once);
      inputs.remove();
      send.remove();
      close.textContent = "Close";
      await showDone(order.key, done, result, closing.signal);
    } catch (error) {
      send.disabled = false;
      show(result, h("div", { role: "alert", class: "alert bad" }, error.message));
    }
  };
  const ends = h("div", { class: "ends" }, close, send);
  const form = h("form", { onsubmit }, h("div", { class: "says" }, order.says), inputs, result, ends);
  const dialog = makeDialog(order.title, form, () => closing.abort());
  dialog.showModal();
  inputs.querySelector("input, select, textarea")?.focus();
}

function sendOrder({ key, path, body = () => ({}) }, values, once) {
  return postOf(key, path, { ...body(values), reason: values.reason.trim(), once });
}

function makeDialog(title, form, onclosed) {
  const id = `order-${++numbers}`;
  const onclose = () => {
    onclosed();
    dialog.remove();
  };
  const dialog = h("dialog", { "aria-labelledby": id, onclose }, h("h2", { id }, title), form);
  document.body.append(dialog);
  return dialog;
}

async function showDone(key, done, result, signal) {
  const state = h("p", { role: "status" });
  const reload = h("button", { type: "button", onclick: () => location.reload() }, "Show the new state");
  show(
    result,
    h(
      "div",
      { class: "alert good", role: "status" },
      h("p", {}, sentence(done.message)),
      done.run && h("p", {}, runLink(done.run.dag, done.run.run)),
    ),
    state,
    reload,
  );
  reload.focus();
  if (!done.run) return;
  try {
    await watchRun(
      key,
      done.run,
      (words) => {
        state.textContent = words;
      },
      signal,
    );
  } catch (error) {
    state.textContent = `How the run is cannot be read: ${error.message}`;
  }
}

function sentence(text) {
  return text ? `${text[0].toUpperCase()}${text.slice(1)}.` : "Done.";
}

/** A labelled input; `options` make it a choice, `type: "lines"` a text of several lines. */
export function field({ name, label, hint, type = "text", options, ...attributes }) {
  const id = `field-${++numbers}`;
  const common = { id, name, "aria-describedby": hint && `${id}-hint`, ...attributes };
  const input = options
    ? h(
        "select",
        common,
        options.map(([value, text]) => h("option", { value }, text)),
      )
    : type === "lines"
      ? h("textarea", { rows: 3, ...common })
      : h("input", { type, autocomplete: "off", ...common });
  const isCheck = type === "checkbox";
  return h(
    "div",
    { class: isCheck ? "field check" : "field" },
    isCheck && input,
    h("label", { for: id }, label),
    !isCheck && input,
    hint && h("div", { class: "small", id: `${id}-hint` }, hint),
  );
}
