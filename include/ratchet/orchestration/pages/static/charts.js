// Charts: Plotly's script comes when the first of them is nearly in sight; they are drawn again when the theme changes.
import { h, show } from "./dom.js";

let loading = null;
const NEAR = "300px";
/** The modebar would make an inline style of its own for each chart. */
const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "reset" };

function loadPlotly() {
  loading ??= new Promise((resolve, reject) => {
    const allow = refuseStyles();
    const script = h("script", {
      src: "static/plotly.js",
      onload: () => {
        allow();
        resolve(window.Plotly);
      },
      onerror: () => {
        allow();
        loading = null;
        script.remove();
        reject(new Error("The charts' script could not be loaded."));
      },
    });
    document.head.append(script);
  });
  return loading;
}

/**
 * Plotly's script begins by adding the styles of its maps as an inline style, which our content security policy
 * forbids and reports. We draw no maps: while the script starts, what it adds is an element without effect.
 */
function refuseStyles() {
  const create = Document.prototype.createElement;
  document.createElement = (tag, options) => create.call(document, tag === "style" ? "template" : tag, options);
  return () => {
    delete document.createElement;
  };
}

/** A text as Plotly shows it letter by letter: it would read tags and links out of it. (And it sets `<b>` by inline styles.) */
export function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/**
 * A chart with a table beside it that says the same.
 * `draw(colours)` gives Plotly's data and layout; `table()` the table, made when it is opened; `onpick` gets clicks.
 * `width` is the least that it needs: on narrower screens it scrolls.
 */
export function chart({ label, height, width, draw, table, onpick }) {
  const box = h(
    "div",
    {
      class: "chart",
      role: "img",
      "aria-label": label,
      css: { height: `${height}px`, ...(width && { "min-width": `${width}px` }) },
    },
    h("p", { class: "loading" }, "Loading the chart…"),
  );
  watch(box, { draw, onpick, height });
  return h(
    "figure",
    {},
    width ? h("div", { class: "scrolling", role: "region", "aria-label": label, tabindex: "0" }, box) : box,
    table && asTable(table),
  );
}

function asTable(table) {
  const content = h("div");
  const details = h(
    "details",
    {
      class: "as-table",
      ontoggle: () => {
        if (details.open && !content.hasChildNodes()) show(content, table());
      },
    },
    h("summary", {}, "Show as table"),
    content,
  );
  return details;
}

function watch(box, options) {
  let isDrawn = false;
  const paint = async () => {
    try {
      const Plotly = await loadPlotly();
      if (!box.isConnected) return;
      const { data, layout } = options.draw(readColours());
      if (!isDrawn) show(box);
      await Plotly.react(box, data, frame(layout, options.height), CONFIG);
      if (!isDrawn && options.onpick) box.on("plotly_click", (event) => options.onpick(event.points[0]));
      isDrawn = true;
    } catch (error) {
      show(box, h("p", { role: "alert", class: "alert bad" }, error.message));
    }
  };
  const near = new IntersectionObserver(
    (seen) => {
      if (!seen.some((one) => one.isIntersecting)) return;
      near.disconnect();
      paint();
    },
    { rootMargin: NEAR },
  );
  near.observe(box);
  document.addEventListener("themechange", () => isDrawn && paint());
}

function readColours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(
    ["page", "raised", "line", "text", "quiet", "red", "amber", "blue", "green"]
      .map((name) => [name, style.getPropertyValue(`--${name}`).trim()])
      .concat(
        ["blue", "amber", "red", "green", "grey"].map((name) => [
          `dot-${name}`,
          style.getPropertyValue(`--dot-${name}`).trim(),
        ]),
      ),
  );
}

/** What all charts have in common. */
function frame(layout, height) {
  const colours = readColours();
  const axis = {
    gridcolor: colours.line,
    linecolor: colours.line,
    zerolinecolor: colours.line,
    tickcolor: colours.line,
    automargin: true,
  };
  return {
    height,
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    margin: { l: 50, r: 14, t: 14, b: 36 },
    font: { family: "ui-sans-serif, system-ui, sans-serif", size: 12, color: colours.text },
    hoverlabel: {
      bgcolor: colours.raised,
      bordercolor: colours.line,
      font: { color: colours.text, size: 12 },
      align: "left",
    },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { color: colours.quiet } },
    ...layout,
    xaxis: { ...axis, ...layout.xaxis },
    yaxis: { ...axis, ...layout.yaxis },
  };
}
