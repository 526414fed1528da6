// Starts the page that the server's frame names.
import { query } from "./api.js";
import { h, show } from "./dom.js";
import { showFleet } from "./fleet.js";
import { failure } from "./parts.js";

const page = document.body.dataset.page;
const content = document.getElementById("content");

function showPlaces() {
  const link = (text, place) => h("a", { href: place, "aria-current": page === place && "page" }, text);
  show(document.getElementById("places"), link("Models", "models"), link("Requests", "requests"));
}

/** Only what a page needs is loaded. */
async function start() {
  showPlaces();
  if (page === "models") return showFleet(content);
  if (page === "model") return (await import("./model.js")).showModel(content);
  return (await import("./requests.js")).showRequests(content);
}

/** Forms leave out empty fields, so that addresses stay short and say only what was asked. */
document.addEventListener("formdata", (event) => {
  if (!event.target.hasAttribute("action")) return; // a form that scripts read
  for (const [name, value] of [...event.formData.entries()]) if (value === "") event.formData.delete(name);
});

if (query.get("name")) document.title = `${query.get("name")} · ${document.title}`;
try {
  await start();
} catch (error) {
  console.error(error);
  show(
    content,
    failure(new Error("A part of this page could not be loaded."), () => location.reload()),
  );
}
