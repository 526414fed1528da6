// Runs of Airflow that an order has started: how they are, until they are over.
import { getOf, part } from "./api.js";

const EVERY_MS = 2000;
const AT_MOST_MS = 600_000;
const OVER = ["success", "failed"];

/** Watch a run until it is over, for ten minutes at most; `tell` hears how it is in a sentence. Gives the last answer. */
export async function watchRun(key, { dag, run }, tell, signal) {
  const end = Date.now() + AT_MOST_MS;
  for (;;) {
    const found = await getOf(key, `/runs/${part(dag)}/${part(run)}`);
    if (signal?.aborted) return found;
    tell(
      found.state === "queued" && (await isPaused(dag))
        ? `${dag} is paused in Airflow: the run waits until somebody unpauses it.`
        : runWords(found.state),
    );
    if (OVER.includes(found.state) || Date.now() > end) return found;
    await new Promise((resolve) => {
      setTimeout(resolve, EVERY_MS);
    });
  }
}

/** Whether Airflow lets a DAG's runs wait. If that cannot be read, nothing is said of it. */
async function isPaused(dag) {
  try {
    const response = await fetch(`../api/v2/dags/${part(dag)}`, { headers: { Accept: "application/json" } });
    return response.ok && (await response.json()).is_paused;
  } catch {
    return false;
  }
}

/** How a run is, in a sentence. */
function runWords(state) {
  if (state === "success") return "The run has ended well.";
  if (state === "failed") return "The run has failed; its log in Airflow says why.";
  return `The run is ${state}…`;
}

/** Names an order: sent twice, it is carried out once. (`randomUUID` exists on https only.) */
export function makeOnce() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((one) => one.toString(16).padStart(2, "0")).join("");
}
