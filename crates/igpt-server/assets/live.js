// The live page of a training run: what the server tells becomes figures, charts and pictures.
//
// Nothing is drawn unless something new came, at most four times a second, and not while the tab is hidden.

import { LossChart, SmallCharts } from "./live-charts.js";
import { follow, keepToken } from "./live-feed.js";
import { count, done, duration, epochs, nats, short, stateName, tabTitle, way } from "./live-format.js";
import { showPalette } from "./live-palette.js";
import { Pictures } from "./live-pictures.js";
import { begin, hasBegun, proceed } from "./live-run.js";

const MOST_OFTEN_MS = 250;

const byId = (id) => document.getElementById(id);
const speak = (text) => put("spoken", text);

const lossChart = new LossChart(speak);
const smallCharts = new SmallCharts(speak);
const samples = new Pictures("samples");
const completions = new Pictures("completions");
const draw = sparingly(() => show(run));

let run = null;
let triedToken = false;

follow({
  whole(answer) {
    run = begin(answer);
    samples.forget();
    completions.forget();
    connected();
  },
  news(event) {
    if (hasBegun(run, event)) return "stale";
    run = proceed(run, event);
    connected();
  },
  async ended() {
    show(run);
    put("connection", "The training is over and its page has closed: igpt watch shows it again.");
    // The server waits a moment for those who still look at the last pictures.
    await Promise.all([samples.settled(), completions.settled()]);
  },
  lost() {
    document.body.dataset.state = "lost";
    const shown = run ? " What is shown is the newest there was." : "";
    put("connection", `Connection lost, trying again.${shown}`);
  },
  token: askForToken,
});

function connected() {
  document.body.dataset.state = run.state;
  document.title = tabTitle(run);
  put("connection", "");
  draw();
}

/** Calls `drawNow` soon, but seldom enough, and only when somebody can see it. */
function sparingly(drawNow) {
  let [last, timer, wanted] = [-Infinity, null, false];
  const now = () => {
    timer = null;
    if (document.hidden) return;
    [last, wanted] = [performance.now(), false];
    drawNow();
  };
  const request = () => {
    wanted = true;
    if (timer === null && !document.hidden) timer = setTimeout(now, Math.max(0, last + MOST_OFTEN_MS - performance.now()));
  };
  document.addEventListener("visibilitychange", () => wanted && request());
  return request;
}

function show(run) {
  byId("run").hidden = false;
  showState(run);
  showFigures(run);
  lossChart.show(run);
  smallCharts.show(run);
  samples.show(run.samples);
  completions.show(run.completions);
  showPalette(run.palette);
  showFacts(run.facts);
  showNotes(run.notes);
}

function showState(run) {
  put("title", run.title || run.name);
  put("state", stateName(run.state));
  const part = done(run);
  byId("progress").hidden = part === null;
  byId("progress").value = part ?? 0;
  put("step", run.step === 0 && run.state === "waiting" ? "" : way(run));
  put("left", run.left_s === null || run.state !== "running" ? "" : `${duration(run.left_s)} left`);
  byId("hint").hidden = run.state !== "waiting" || run.step > 0;
}

function showFigures(run) {
  document.querySelector(".headline").hidden = run.step === 0;
  put("loss", nats(run.loss));
  put("validation", nats(run.validation));
  put("best", nats(run.best));
  put("speed", run.tokens_per_s >= 1000 ? count(run.tokens_per_s) : short(run.tokens_per_s));
  put("epoch", epochs(run.epoch));
  put("elapsed", duration(run.elapsed_s));
}

function showFacts(facts) {
  byId("facts-section").hidden = facts.length === 0;
  const table = byId("facts");
  if (table.dataset.shown === JSON.stringify(facts)) return;
  table.dataset.shown = JSON.stringify(facts);
  table.replaceChildren(...facts.map(([name, value]) => {
    const row = document.createElement("tr");
    const head = Object.assign(document.createElement("th"), { scope: "row", textContent: name });
    row.append(head);
    row.insertCell().textContent = value;
    return row;
  }));
}

/** The log, at its end unless the visitor has scrolled up. */
function showNotes(notes) {
  byId("notes-section").hidden = notes.length === 0;
  const log = byId("notes");
  const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  if (put("notes", notes.join("\n")) && atEnd) log.scrollTop = log.scrollHeight;
}

/** Sets a text if it is another one; whether it was. */
function put(id, text) {
  const node = byId(id);
  if (node.textContent === text) return false;
  node.textContent = text;
  return true;
}

function askForToken() {
  const form = byId("token-form");
  form.hidden = false;
  put("state", triedToken ? "The server does not accept this token" : "Waiting for the token");
  triedToken = true;
  byId("token").focus();
  return new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      keepToken(byId("token").value);
      form.hidden = true;
      put("state", "Loading …");
      resolve();
    }, { once: true });
  });
}
