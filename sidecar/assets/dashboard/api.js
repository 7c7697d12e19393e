/**
 * Asking the statistics service. Paths are relative to the page, so that it also works behind a
 * proxy under another path.
 */

/** How long an answer may take, in milliseconds. */
const PATIENCE = 15_000;

/** The service answered, and said no. */
export class Refused extends Error {
  /** @param {number} status of HTTP. @param {string} code of the API. @param {string} text says why. */
  constructor(status, code, text) {
    super(text);
    this.status = status;
    this.code = code;
  }
}

/** No answer that can be used: the service, or the way there, is down. */
export class Unreached extends Error {}

/** The address of something below /api/v1/, with a query; entries without a value are left out. */
export function address(path, query = {}) {
  const url = new URL(`api/v1/${path}`, document.baseURI);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") {
      url.searchParams.set(name, value);
    }
  }
  return url;
}

/** Asks; gives the response as soon as its head is there. Errors are Refused and Unreached. */
export async function ask(url, accept, signal) {
  let response;
  try {
    // The browser asks with the ETag of what it has, and shows the password that people gave it.
    response = await fetch(url, { headers: { Accept: accept }, signal, cache: "no-cache" });
  } catch (error) {
    throw new Unreached(`the statistics service can't be reached (${error.message})`);
  }
  if (!response.ok) {
    throw await refusal(response);
  }
  return response;
}

async function refusal(response) {
  let said;
  try {
    said = (await response.json()).error;
  } catch {
    // A proxy's page, perhaps: the status has to do.
  }
  const text = typeof said?.message === "string" ? said.message : `HTTP ${response.status}`;
  if (said === undefined && response.status >= 502 && response.status <= 504) {
    return new Unreached(`the way to the statistics service is down (HTTP ${response.status})`);
  }
  return new Refused(response.status, String(said?.code ?? ""), text);
}

/** Asks for JSON. */
export async function get(path, query, outer) {
  const given = [AbortSignal.timeout(PATIENCE), outer].filter((signal) => signal !== undefined);
  const response = await ask(address(path, query), "application/json", AbortSignal.any(given));
  try {
    return await response.json();
  } catch (error) {
    throw new Unreached(`the answer broke off or is no JSON (${error.message})`);
  }
}
