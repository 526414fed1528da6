// Builds elements. What comes from data only ever becomes a text node or an attribute: nothing is read as HTML.

/** An element with attributes and children; functions are listeners (`onclick`), `css` sets properties. */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) set(element, name, value);
  element.append(...flat(children));
  return element;
}

/** Children without those that are not there. */
export function flat(children) {
  return [children].flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false && one !== "");
}

/** Show something in place of what an element has. */
export function show(element, ...children) {
  element.replaceChildren(...flat(children));
  return element;
}

/** A name that people or data made: in its own writing direction, wherever it stands. */
export function named(text, attributes) {
  return h("bdi", attributes, String(text));
}

function set(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (typeof value === "function") element.addEventListener(name.slice(2), value);
  // Properties of `style` are no inline style to the content security policy; the attribute would be.
  else if (name === "css") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
  else if (name === "href" || name === "src") element.setAttribute(name, safeUrl(value));
  else element.setAttribute(name, value === true ? "" : String(value));
}

/** An address as it is if it is relative or of the web, else one that leads nowhere. */
export function safeUrl(address) {
  try {
    const { protocol } = new URL(address, document.baseURI);
    return protocol === "http:" || protocol === "https:" ? String(address) : "#";
  } catch {
    return "#";
  }
}
