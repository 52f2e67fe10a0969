// The studio: a picture is loaded and rubbed out in part, the server draws the rest, and what the model makes of it is
// shown. This file joins the parts; each part says at its top what it is.

import * as api from "./studio-api.js";
import { Picture } from "./studio-picture.js";
import { Editor } from "./studio-editor.js";
import { Results } from "./studio-results.js";
import { Inspector } from "./studio-inspect.js";
import { boundSettings, connectTools, element, lightest, readSettings, Seed } from "./studio-controls.js";
import { base64Of, showExamples, watchFiles } from "./studio-source.js";
import { methodSentence, plannedMethod } from "./studio-method.js";
import { rgbOf } from "./studio-pixels.js";

function setState(state) {
  document.body.dataset.state = state;
}

function say(text) {
  element("status").textContent = text;
}

/** Shows what went wrong right after what caused it. */
function showError(error, cause) {
  cause.after(element("error"));
  element("error").textContent = error.message;
  element("error").hidden = false;
  setState("error");
}

function clearError() {
  element("error").hidden = true;
}

let opened = false;

/** Fetches the model and opens the studio (once), or asks for what is missing to do so. */
async function load() {
  setState("loading");
  clearError();
  element("retry").hidden = true;
  say("Loading the model …");
  try {
    const [model] = await api.models();
    element("token-form").hidden = true;
    if (!opened) open(model);
    opened = true;
    if (document.body.dataset.state === "loading") setState("ready");
  } catch (error) {
    say("");
    if (error.status === 401) askForToken();
    else {
      showError(error, element("status"));
      element("retry").hidden = false;
    }
  }
}

function askForToken() {
  const refused = !element("token-form").hidden;
  element("token-form").hidden = false;
  element("token").focus();
  if (refused) showError(new Error("The server does not accept this token. See whether it is complete."), element("token-form"));
}

element("retry").addEventListener("click", load);
element("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.keepToken(element("token").value.trim());
  load();
});
load();

function open(model) {
  const palette = model.palette.map(rgbOf);
  const picture = new Picture(model.height, model.width);
  element("studio").hidden = false;
  // From here on there is news only of drawing.
  element("method").before(element("status"));
  boundSettings(model);
  const editor = new Editor(element("editor"), picture, palette);
  const tools = connectTools(editor, model.palette);
  const results = new Results(element("results"), { ...model, palette, use });
  const inspector = new Inspector(model, picture, editor);
  const seed = new Seed();
  let running = null;
  // Whether the visitor has asked for a drawing: the first one comes by itself.
  let asked = false;

  describeModel(model);
  connectRows(picture);
  connectUndo(picture);
  connectReadout(editor, picture, model.palette);
  watchFiles(takeFile);
  showExamples(model.examples, (example) => take(example.tokens, `the example ${example.name}`), takeBlank);
  element("complete").hidden = !model.can.complete;
  element("sample").hidden = !model.can.sample;
  element("steps-field").hidden = model.objective !== "masked";
  element("complete").addEventListener("click", () => { asked = true; complete(); });
  element("sample").addEventListener("click", () => { asked = true; draw("sample"); });
  element("stop").addEventListener("click", () => running?.abort());
  element("download-all").addEventListener("click", () => results.downloadAll());
  picture.addEventListener("change", showPlan);
  picture.addEventListener("change", forgiveError);
  begin();

  /** The first sight: an example with its lower half erased, and the model at work on it. */
  function begin() {
    // Sets often begin with their plainest images.
    const example = model.examples[Math.floor((2 * model.examples.length) / 3)];
    if (example) picture.tokens.set(example.tokens);
    else picture.tokens.fill(lightest(model.palette));
    picture.keepRows(example ? Math.ceil(model.height / 2) : 0);
    setState("ready");
    say(`${model.name} is ready.`);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (example && model.can.complete && !calm) complete();
  }

  function take(tokens, name) {
    clearError();
    const rows = Number(element("rows").value);
    picture.step(`load ${name}`, () => {
      picture.tokens.set(tokens);
      picture.keepRows(rows > 0 ? rows : Math.ceil(model.height / 2));
    });
    say(`Loaded ${name}.`);
  }

  function takeBlank() {
    picture.step("empty the picture", () => {
      picture.tokens.fill(lightest(model.palette));
      picture.keepRows(0);
    });
    tools.choose("paint");
    element("editor").focus();
    say("Paint some pixels: the model draws all the others.");
  }

  async function takeFile(file) {
    clearError();
    say(`Reading ${file.name} …`);
    try {
      const { tokens } = await api.ask("quantize", { image: await base64Of(file) });
      take(tokens, file.name);
    } catch (error) {
      say("");
      showError(error, element("drop"));
    }
  }

  function use(tokens, number) {
    picture.step(`use completion ${number}`, () => {
      picture.tokens.set(tokens);
      picture.keepRows(model.height);
    });
    tools.choose("erase");
    say(`Completion ${number} is now the picture. Rub out a part to go on.`);
  }

  function complete() {
    if (picture.erasedCount === 0) {
      showError(new Error("Nothing is rubbed out: rub out a part of the picture, or keep fewer rows."), element("draw"));
    } else if (picture.erasedCount === picture.pixels && model.can.sample) draw("sample");
    else draw("complete");
  }

  /** On a phone what is drawn may be below the edge of the screen. */
  function bringIntoView() {
    if (asked) document.querySelector(".result").scrollIntoView({ block: "nearest" });
  }

  function request(what, settings) {
    const common = { seed: settings.seed, temperature: settings.temperature, top_k: settings["top-k"], top_p: settings["top-p"] };
    if (what === "sample") return { ...common, n: settings.completions, first_image: 0 };
    const rows = picture.rowsKept;
    const hole = rows === null ? { mask: Array.from(picture.erased, Boolean) } : { rows };
    const { completions, candidates, steps } = settings;
    return { ...common, tokens: [...picture.tokens], ...hole, completions, candidates, steps };
  }

  /** Runs a request to its end, its stop or its failure, and shows each pixel as it comes. */
  async function draw(what) {
    running?.abort();
    const own = running = new AbortController();
    clearError();
    seed.next();
    const settings = readSettings();
    const body = request(what, settings);
    const erased = what === "sample" ? new Uint8Array(picture.pixels).fill(1) : picture.erased;
    results.begin(settings.completions, picture.tokens, erased, `${model.name}-seed-${settings.seed}`);
    setDrawing(true);
    say(`Waiting for the first of ${settings.completions} …`);
    let method = plannedMethod(model, picture, what);
    try {
      const done = await api.stream(what, body, {
        start: (start) => {
          method = start.method;
          results.setCandidates(start.candidates);
          element("method").textContent = methodSentence(method, settings);
          bringIntoView();
        },
        pixels: (pixels) => {
          results.add(pixels);
          sayProgress();
        },
      }, own.signal);
      results.setCandidates(done.candidates);
      results.finish(done.images);
      say(`All ${done.images.length} done, seed ${done.seed}.`);
      setState("done");
    } catch (error) {
      if (own !== running) return;
      results.halt();
      say(error.name === "AbortError" ? "Stopped." : "");
      setState("ready");
      if (error.status === 401) askForToken();
      else if (error.name !== "AbortError") showError(error, element("draw"));
    }
    if (own === running) setDrawing(false);
  }

  function setDrawing(drawing) {
    if (drawing) setState("drawing");
    element("stop").disabled = !drawing;
    element("download-all").hidden = !results.anyWhole || results.count < 2;
    inspector.pause(drawing);
  }

  function sayProgress() {
    const { doneCount, count } = results;
    const text = doneCount ? `Completion ${doneCount} of ${count} done.` : `Drawing ${count} …`;
    if (element("status").textContent !== text) say(text);
  }

  /** What went wrong before an edit is of no more interest after it. */
  function forgiveError() {
    clearError();
    if (document.body.dataset.state === "error") setState("ready");
  }

  function showPlan() {
    const method = plannedMethod(model, picture, "complete");
    element("candidates-field").hidden = method !== "particles";
    if (document.body.dataset.state !== "drawing") element("method").textContent = methodSentence(method, readSettings());
  }
}

function describeModel(model) {
  const { name, width, height, n_vocab: colors, parameters, objective } = model;
  document.title = `${name} · igpt studio`;
  const how = objective === "masked" ? "fills in from all sides" : "draws row by row";
  element("about").prepend(`${name}: ${width} × ${height} pixels, ${colors} ${model.channels === 1 ? "greys" : "colours"}, `
    + `${parameters.toLocaleString("en")} parameters, ${how}. `);
}

/** The slider of rows kept: a drag of it is one step of undo. */
function connectRows(picture) {
  const slider = element("rows");
  slider.addEventListener("input", () => {
    picture.begin();
    picture.keepRows(Number(slider.value));
  });
  slider.addEventListener("change", () => picture.end("keep rows"));
  picture.addEventListener("change", () => {
    const rows = picture.rowsKept;
    if (rows !== null) slider.value = rows;
    const text = rows === null ? "free shape" : `${rows} of ${picture.height}`;
    element("rows-value").textContent = text;
    slider.setAttribute("aria-valuetext", text);
  });
}

function connectUndo(picture) {
  const move = (way, word) => {
    const label = picture[way]();
    if (label) say(`${word}: ${label}.`);
  };
  element("undo").addEventListener("click", () => move("undo", "Undone"));
  element("redo").addEventListener("click", () => move("redo", "Done again"));
  addEventListener("keydown", (event) => {
    const typing = event.target.matches("input:is([type=number], [type=password], [type=text])");
    if (typing || !(event.ctrlKey || event.metaKey)) return;
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    if (key === "y" || event.shiftKey) move("redo", "Done again");
    else move("undo", "Undone");
  });
  picture.addEventListener("change", () => {
    element("undo").disabled = !picture.canUndo;
    element("redo").disabled = !picture.canRedo;
  });
}

/** What is at the pixel pointed at, for the eye; spoken only when the keyboard moved there. */
function connectReadout(editor, picture, hexes) {
  editor.addEventListener("cursor", ({ detail: { pixel, by, rectangle } }) => {
    const i = pixel.row * picture.width + pixel.column;
    const hex = hexes[picture.tokens[i]];
    const dot = Object.assign(document.createElement("span"), { className: "dot" });
    dot.style.background = hex;
    const text = `Row ${pixel.row + 1}, column ${pixel.column + 1}, ${hex}, ${picture.erased[i] ? "erased" : "known"}`
      + (rectangle ? `, rectangle of ${rectangle} pixels` : "");
    element("pixel").replaceChildren(dot, text);
    if (by === "keyboard") element("spoken").textContent = text;
  });
}
