// Light or dark as Airflow is. A classic script in the head, so that the first paint is in the right colours already.
"use strict";
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  /** Airflow's root element, if this page is shown inside Airflow. */
  function findHost() {
    try {
      return window.parent === window ? null : window.parent.document.documentElement;
    } catch {
      return null; // another origin shows us: then we follow our own settings
    }
  }

  function readTheme(host) {
    if (host?.classList.contains("dark")) return "dark";
    if (host?.classList.contains("light")) return "light";
    let stored = null;
    try {
      stored = window.localStorage.getItem("theme");
    } catch {
      // storage may be forbidden
    }
    if (stored === "dark" || stored === "light") return stored;
    return dark.matches ? "dark" : "light";
  }

  const host = findHost();

  function follow() {
    const theme = readTheme(host);
    if (document.documentElement.dataset.theme === theme) return;
    document.documentElement.dataset.theme = theme;
    document.dispatchEvent(new CustomEvent("themechange"));
  }

  follow();
  dark.addEventListener("change", follow);
  window.addEventListener("storage", follow);
  if (host) new MutationObserver(follow).observe(host, { attributes: true, attributeFilter: ["class"] });
})();
