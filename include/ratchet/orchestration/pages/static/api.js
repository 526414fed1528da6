// The JSON API below `api/v1`, and the addresses of our pages. All are relative: Airflow may live under a prefix.

/** What the API refused, in its own words. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const query = new URLSearchParams(location.search);
export const part = encodeURIComponent;

/** The model key that the page's address names. */
export function readKey() {
  return { name: query.get("name") ?? "", segment: query.get("segment") || "all" };
}

/** An address of a page, such as `model?name=x`; what is empty is left out. */
export function address(page, params) {
  const text = encode(params);
  return text ? `${page}?${text}` : page;
}

/** The present page's address with some of its query changed. */
export function here(changes, hash = "") {
  return address(document.body.dataset.page, { ...Object.fromEntries(query), ...changes }) + hash;
}

/** The address of a model key's page. */
export function modelAddress(key, more) {
  return address("model", { name: key.name, segment: key.segment === "all" ? "" : key.segment, ...more });
}

/** Ask something of a model key: `below` is the path after the model's. */
export function getOf(key, below = "", params = {}) {
  const segment = key.segment === "all" ? "" : key.segment;
  return get(`models/${part(key.name)}${below}`, { segment, ...params });
}

/** Order something of a model key. */
export function postOf(key, below, body) {
  const segment = key.segment === "all" ? "" : key.segment;
  return send(address(`api/v1/models/${part(key.name)}${below}`, { segment }), {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json" },
  });
}

export function get(path, params = {}) {
  return send(address(`api/v1/${path}`, params), {});
}

function encode(params) {
  const known = Object.entries(params ?? {}).filter(
    ([, value]) => value !== "" && value !== null && value !== undefined,
  );
  return new URLSearchParams(known).toString();
}

async function send(url, options) {
  let response;
  try {
    response = await fetch(url, { ...options, headers: { Accept: "application/json", ...options.headers } });
  } catch {
    throw new ApiError(0, "The server cannot be reached.");
  }
  const content = await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(response.status, explain(response, content));
  return content;
}

/** The API's `detail`: a sentence, or one entry for each field that is wrong. */
function explain(response, content) {
  const detail = content?.detail;
  if (Array.isArray(detail)) {
    return detail.map((one) => `${(one.loc ?? []).slice(1).join(".")}: ${one.msg}`).join("; ");
  }
  if (typeof detail === "string" && detail) return detail;
  return `The server answered ${response.status} ${response.statusText}`.trim();
}
