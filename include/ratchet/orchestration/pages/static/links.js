// Links. Airflow shows our pages in a sandboxed frame that may neither navigate Airflow nor open a tab.
import { h, safeUrl } from "./dom.js";
import { part } from "./api.js";

/** A link that leaves our pages: to one of Airflow's, or with `tab` to anything in a new tab. */
export function outside(text, url, { tab = false, ...attributes } = {}) {
  const target = tab ? { target: "_blank", rel: "noopener" } : {};
  return h(
    "a",
    {
      class: "outside",
      href: absolute(url),
      ...target,
      ...attributes,
      onclick: (event) => {
        if (window.parent === window) return;
        event.preventDefault();
        leave(url, { tab });
      },
    },
    text,
    tab && h("span", { class: "tab", "aria-hidden": "true" }, "↗"),
    tab && h("span", { class: "unseen" }, " (new tab)"),
  );
}

/** Follow an address in Airflow's own window, as if its page had the link. */
export function leave(url, { tab = false } = {}) {
  const owner = window.parent.document;
  const link = owner.createElement("a");
  link.href = absolute(url);
  if (tab) Object.assign(link, { target: "_blank", rel: "noopener" });
  owner.body.append(link);
  link.click();
  link.remove();
}

/** A run of a DAG in Airflow. */
export function runLink(dag, run, text = "run in Airflow") {
  return outside(text, `../dags/${part(dag)}/runs/${part(run)}`);
}

function absolute(url) {
  const safe = safeUrl(url);
  return safe === "#" ? safe : new URL(safe, location.href).href;
}
