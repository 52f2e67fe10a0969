// Requests to the server: JSON answers, streams of events, and errors as sentences a visitor can act on.

const TOKEN_KEY = "igpt-token";

/** A failed request: `message` is for people; `status` is 0 where no answer came. */
export class RequestError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export function keepToken(token) {
  sessionStorage.setItem(TOKEN_KEY, token);
}

/** The models this server has. */
export async function models(signal) {
  const response = await send("/v1/models", { method: "GET", signal });
  return (await response.json()).models;
}

/** Posts `body` to /v1/`what` and gives the answer. */
export async function ask(what, body, signal) {
  const response = await post(what, body, signal);
  return response.json();
}

/** Posts `body` to /v1/`what`, calls `on[event](data)` for each event that is sent, and gives the data of the last,
 * "done". */
export async function stream(what, body, on, signal) {
  const response = await post(what, { ...body, stream: true }, signal);
  for await (const { event, data } of eventsOf(response.body)) {
    if (event === "error") throw new RequestError(sentence(data.error), response.status);
    on[event]?.(data);
    if (event === "done") return data;
  }
  throw new RequestError("The connection ended before the pictures were done. Press Complete to start again.", 0);
}

function post(what, body, signal) {
  const headers = { "Content-Type": "application/json" };
  return send(`/v1/${what}`, { method: "POST", headers, body: JSON.stringify(body), signal });
}

async function send(path, options) {
  const token = sessionStorage.getItem(TOKEN_KEY);
  const headers = token ? { ...options.headers, Authorization: `Bearer ${token}` } : options.headers;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (cause) {
    throw lost(cause);
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  const said = await response.json().then((body) => body.error, () => null);
  const text = sentence(said ?? `The server answered with status ${response.status}.`);
  return new RequestError(text + advice(response), response.status);
}

function advice(response) {
  const wait = Number(response.headers.get("Retry-After"));
  const when = wait > 0 ? `in ${wait} second${wait === 1 ? "" : "s"}` : "in a moment";
  if (response.status === 503) return ` The server is busy: try again ${when}.`;
  if (response.status === 429) return ` Too much was asked for at once from here: stop what is being drawn, or try again ${when}.`;
  if (response.status === 413) return " Choose a smaller file.";
  return "";
}

/** An aborted request stays an AbortError; anything else without an answer is a lost connection. */
function lost(cause) {
  if (cause.name === "AbortError") return cause;
  return new RequestError("The connection to the server is lost. See whether igpt serve is still running, then try again.", 0);
}

function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

/** The server-sent events of a body, in order. */
async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
      rest = blocks.pop();
      yield* blocks.map(parseEvent).filter(Boolean);
    }
  } catch (cause) {
    throw lost(cause);
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parseEvent(block) {
  let event = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) event = line.slice(6).trim();
    if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  return data.length ? { event, data: JSON.parse(data.join("\n")) } : null;
}
