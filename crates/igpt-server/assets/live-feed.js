// The run as the server tells it: the whole once, then what is new. A broken connection is taken up again.
//
// Events are read with fetch instead of EventSource, as that can't send a token.

const TOKEN_KEY = "igpt-token";
/** The server says something at least each 15 seconds; a connection that is silent for longer is dead. */
const SILENCE_MS = 45_000;
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 5000;
const LONGEST_HIDDEN_WAIT_MS = 30_000;
/** A connection that held this long was a good one. */
const STEADY_MS = 3000;

class TokenWanted extends Error {}

export function keepToken(token) {
  sessionStorage.setItem(TOKEN_KEY, token);
}

/** The bytes of a picture. */
export async function picture(url) {
  return (await get(url)).blob();
}

/** Follows the run for ever. Calls `on.whole(run)` at first and after each break, `on.news(event)`, `on.lost()`, and
 * waits for `on.token()` where the server wants one and for `on.ended()` where the training is over and the server goes
 * with it. */
export async function follow(on) {
  let over = false;
  const whole = (run) => {
    over = false;
    on.whole(run);
  };
  for (let failures = 0; ; ) {
    const start = performance.now();
    try {
      over = await listen({ ...on, whole });
    } catch (cause) {
      if (cause instanceof TokenWanted) {
        await on.token();
        continue;
      }
    }
    failures = !over && performance.now() - start > STEADY_MS ? 0 : failures + 1;
    if (failures === 0) continue;
    // Another training may begin here.
    if (!over) on.lost();
    await pause(over ? Infinity : failures);
  }
}

/** One connection; whether it ended with the training. The events are opened before the whole is asked for, so that none is missed between the two. */
async function listen(on) {
  const watchdog = new Watchdog();
  try {
    const events = await get("/api/events", watchdog.signal);
    on.whole(await whole(watchdog.signal));
    for await (const { event, data } of eventsOf(events.body, watchdog)) {
      if (event === "reset") on.whole(await whole(watchdog.signal));
      if (event !== "run" && event !== "end") continue;
      if (on.news(JSON.parse(data)) === "stale") on.whole(await whole(watchdog.signal));
      if (event === "run") continue;
      await on.ended();
      return true;
    }
    return false;
  } finally {
    watchdog.stop();
  }
}

async function whole(signal) {
  return (await get("/api/run", signal)).json();
}

async function get(path, signal) {
  const token = sessionStorage.getItem(TOKEN_KEY);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { headers, signal, cache: "no-cache" });
  if (response.status === 401) throw new TokenWanted();
  if (!response.ok) throw new Error(`${path}: status ${response.status}`);
  return response;
}

/** Ends a connection that says nothing. */
class Watchdog {
  #controller = new AbortController();
  #timer;

  constructor() {
    this.heard();
  }

  get signal() {
    return this.#controller.signal;
  }

  heard() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#controller.abort(), SILENCE_MS);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#controller.abort();
  }
}

/** The server-sent events of a body, in order. */
async function* eventsOf(body, watchdog) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    watchdog.heard();
    const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop();
    yield* blocks.map(parseEvent).filter(({ data }) => data);
  }
}

function parseEvent(block) {
  const lines = block.split("\n");
  const values = (key) => lines.filter((line) => line.startsWith(key)).map((line) => line.slice(key.length).trim());
  return { event: values("event:")[0] ?? "message", data: values("data:").join("\n") };
}

/** Waits longer after each failure, but not once the network is back or the page is looked at again. */
function pause(failures) {
  const longest = document.hidden ? LONGEST_HIDDEN_WAIT_MS : LONGEST_WAIT_MS;
  return new Promise((resolve) => {
    const over = new AbortController();
    const end = () => {
      clearTimeout(timer);
      over.abort();
      resolve();
    };
    const timer = setTimeout(end, Math.min(longest, FIRST_WAIT_MS * 2 ** (failures - 1)));
    window.addEventListener("online", end, { signal: over.signal });
    document.addEventListener("visibilitychange", () => document.hidden || end(), { signal: over.signal });
  });
}
