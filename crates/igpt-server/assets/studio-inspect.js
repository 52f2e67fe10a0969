// What the model makes of the picture: the probability of each colour at a pixel, surprise, classes and neighbours.
// Each panel asks the server a moment after the last change, and keeps quiet while completions are drawn.

import { ask } from "./studio-api.js";
import { element } from "./studio-controls.js";
import { dots, heatColor } from "./studio-pixels.js";

const POINTER_PAUSE = 120;
const PICTURE_PAUSE = 500;
const ROWS_KEPT = 256;
/** A palette up to this size is listed whole. */
const WHOLE_PALETTE = 32;
const MOST_LIKELY = 8;
const NEIGHBORS = 8;

/** The panels of `model` about `picture`; those that the model cannot fill stay hidden. */
export class Inspector {
  #timer = 0;
  #aborter = new AbortController();
  #paused = false;

  constructor(model, picture, editor) {
    Object.assign(this, { model, picture, editor });
    const { can } = model;
    this.panels = [];
    if (can.score) {
      this.panels.push(new Surprise(model, picture, editor));
      new Probabilities(model, picture, editor);
    }
    if (can.classify && model.classes) this.panels.push(new Classes(picture));
    if (model.neighbors) this.panels.push(new Neighbors(model, picture));
    element("inspect").hidden = !can.score && this.panels.length === 0;
    picture.addEventListener("change", () => this.#later());
    element("surprise").addEventListener("change", () => this.#later(0));
  }

  /** Holds requests back while completions are drawn, so that they do not take each other's place. */
  pause(paused) {
    this.#paused = paused;
    if (!paused) this.#later();
  }

  #later(pause = PICTURE_PAUSE) {
    clearTimeout(this.#timer);
    if (!this.#paused) this.#timer = setTimeout(() => this.#refresh(), pause);
  }

  async #refresh() {
    this.#aborter.abort();
    this.#aborter = new AbortController();
    const { signal } = this.#aborter;
    for (const panel of this.panels) {
      if (signal.aborted) return;
      await panel.refresh(signal);
    }
  }
}

/** The colours that are likely at the pixel pointed at. */
class Probabilities {
  #rows = new Map();
  #timer = 0;
  #pixel = null;

  constructor(model, picture, editor) {
    Object.assign(this, { model, picture });
    element("likelihood").hidden = false;
    editor.addEventListener("cursor", ({ detail }) => this.#pointAt(detail.pixel));
    picture.addEventListener("change", () => this.#pixel && this.#pointAt(this.#pixel));
  }

  #pointAt(pixel) {
    this.#pixel = pixel;
    clearTimeout(this.#timer);
    const known = this.#rows.get(this.#key(pixel.row));
    if (known) this.#show(known);
    else this.#timer = setTimeout(() => this.#fetch(pixel.row), POINTER_PAUSE);
  }

  /** What a row's probabilities depend on: the pixels up to its end. */
  #key(row) {
    return `${row}:${this.picture.tokens.subarray(0, (row + 1) * this.picture.width).join()}`;
  }

  async #fetch(row) {
    const key = this.#key(row);
    try {
      const { probabilities } = await ask("predict", { tokens: [...this.picture.tokens], row });
      if (this.#rows.size >= ROWS_KEPT) this.#rows.delete(this.#rows.keys().next().value);
      this.#rows.set(key, probabilities);
      if (this.#key(this.#pixel.row) === key) this.#show(probabilities);
    } catch (error) {
      element("probabilities").replaceChildren(problem(error));
    }
  }

  #show(row) {
    const { palette, n_vocab: colors } = this.model;
    const own = this.picture.tokens[this.#pixel.row * this.picture.width + this.#pixel.column];
    const probabilities = row[this.#pixel.column];
    const order = probabilities.map((_, token) => token).sort((a, b) => probabilities[b] - probabilities[a]);
    const shown = colors <= WHOLE_PALETTE ? order : order.slice(0, MOST_LIKELY);
    if (!shown.includes(own)) shown.push(own);
    const entries = shown.map((token) => ({
      name: [colorDot(palette[token]), code(palette[token]), token === own ? small("now") : ""],
      share: probabilities[token], own: token === own,
    }));
    element("probabilities-at").textContent = `row ${this.#pixel.row + 1}, column ${this.#pixel.column + 1}`;
    element("probabilities").replaceChildren(bars(entries));
  }
}

/** How little each pixel was expected, laid over the picture. */
class Surprise {
  #scored = null;
  #score = null;

  constructor(model, picture, editor) {
    Object.assign(this, { model, picture, editor });
    element("surprise-panel").hidden = false;
    element("opacity").addEventListener("input", () => this.#draw());
    picture.addEventListener("change", () => this.#draw());
    const context = element("legend").getContext("2d");
    context.drawImage(dots(1, 256, (i) => heatColor(i / 255)), 0, 0);
  }

  async refresh(signal) {
    const wanted = element("surprise").checked;
    element("surprise-more").hidden = !wanted;
    if (wanted && this.#scored !== this.picture.tokens.join()) {
      try {
        const scored = this.picture.tokens.join();
        const { scores } = await ask("score", { tokens: [[...this.picture.tokens]] }, signal);
        [this.#scored, this.#score] = [scored, scores[0]];
        this.#describe();
      } catch (error) {
        this.#score = null;
        if (error.name !== "AbortError") element("nats").replaceChildren(problem(error));
      }
    }
    this.#draw();
  }

  #describe() {
    const { nats, nats_per_pixel: each, bits_per_dim: bits, png_nats: png } = this.#score;
    element("legend-top").textContent = `${this.#top().toFixed(1)} nats`;
    element("nats").textContent = `${nats.toFixed(0)} nats in all, ${each.toFixed(2)} a pixel`
      + (bits == null ? "" : ` (${bits.toFixed(2)} bits a dimension)`) + (png == null ? "." : `; a PNG of it takes ${png.toFixed(0)} nats.`);
  }

  #top() { return Math.max(...this.#score.surprise, 0.1); }

  #draw() {
    // A map of an earlier picture would mislead.
    const shown = element("surprise").checked && this.#score && this.#scored === this.picture.tokens.join();
    if (!shown) return this.editor.overlay(null);
    const { surprise } = this.#score;
    const map = dots(this.picture.height, this.picture.width, (i) => heatColor(surprise[i] / this.#top()));
    return this.editor.overlay(map, Number(element("opacity").value) / 100);
  }
}

/** What a fine-tuned model takes the picture for. */
class Classes {
  #shown = null;

  constructor(picture) {
    this.picture = picture;
    element("classes-panel").hidden = false;
  }

  async refresh(signal) {
    const wanted = this.picture.tokens.join();
    if (wanted === this.#shown) return;
    try {
      const { classes, images } = await ask("classify", { tokens: [[...this.picture.tokens]] }, signal);
      const { probabilities } = images[0];
      const order = classes.map((_, i) => i).sort((a, b) => probabilities[b] - probabilities[a]).slice(0, MOST_LIKELY);
      const entries = order.map((i, rank) => ({ name: [classes[i]], share: probabilities[i], own: rank === 0 }));
      element("classes").replaceChildren(bars(entries));
      this.#shown = wanted;
    } catch (error) {
      if (error.name !== "AbortError") element("classes").replaceChildren(problem(error));
    }
  }
}

/** The pictures whose features are nearest. */
class Neighbors {
  #shown = null;

  constructor(model, picture) {
    this.picture = picture;
    element("neighbors-panel").hidden = false;
    element("neighbors-of").textContent = `of ${model.neighbors.images.toLocaleString("en")}`;
  }

  async refresh(signal) {
    const wanted = this.picture.tokens.join();
    if (wanted === this.#shown) return;
    try {
      const { neighbors } = await ask("neighbors", { tokens: [...this.picture.tokens], k: NEIGHBORS }, signal);
      const list = Object.assign(document.createElement("ul"), { className: "nearest" });
      list.append(...neighbors.map(neighborItem));
      element("neighbors").replaceChildren(list);
      this.#shown = wanted;
    } catch (error) {
      if (error.name !== "AbortError") element("neighbors").replaceChildren(problem(error));
    }
  }
}

function neighborItem({ name, label, similarity, png }) {
  const image = Object.assign(document.createElement("img"), { src: `data:image/png;base64,${png}`, alt: name, title: name });
  const item = document.createElement("li");
  item.append(image, `${label ?? name} ${similarity.toFixed(2)}`);
  return item;
}

/** A list of names with a bar for each share. */
function bars(entries) {
  const list = Object.assign(document.createElement("ul"), { className: "bars" });
  list.append(...entries.map(({ name, share, own }) => {
    const item = document.createElement("li");
    const label = span("name", ...name);
    if (own) label.classList.add("own");
    const fill = document.createElement("i");
    fill.style.width = `${100 * share}%`;
    item.append(label, span("track", fill), span("share", percent(share)));
    return item;
  }));
  return list;
}

function percent(share) {
  if (share === 0) return "0%";
  return share < 0.001 ? "<0.1%" : `${(100 * share).toFixed(1)}%`;
}

function span(className, ...content) {
  const made = Object.assign(document.createElement("span"), { className });
  made.append(...content);
  return made;
}

function colorDot(hex) {
  const dot = span("dot");
  dot.style.background = hex;
  return dot;
}

function code(text) {
  return Object.assign(document.createElement("code"), { textContent: text });
}

function small(text) {
  return Object.assign(document.createElement("small"), { textContent: text });
}

function problem(error) {
  return Object.assign(document.createElement("p"), { className: "error", textContent: error.message });
}
