// The completions, side by side: each is drawn pixel by pixel as the server sends it, and can be kept or used.

import { dots, download, enlarged, factorFor, hatch, layOver, pageColors } from "./studio-pixels.js";

const DOTS = 384;

/** One gallery of completions. `use(tokens)` is called for "Use this one". */
export class Results {
  #results = [];
  #name = "";

  constructor(container, { height, width, palette, use }) {
    Object.assign(this, { container, height, width, palette, use });
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#results.forEach((one) => this.#draw(one)));
  }

  get count() { return this.#results.length; }
  get doneCount() { return this.#results.filter((one) => one.drawn === one.toDraw).length; }
  get anyWhole() { return this.#results.some((one) => one.whole); }

  /** Makes room for `count` pictures of which the pixels of `tokens` where `erased` is 0 are known already. */
  begin(count, tokens, erased, name) {
    this.#name = name;
    const toDraw = erased.reduce((sum, one) => sum + one, 0);
    this.#results = Array.from({ length: count }, (_, i) => ({
      ...this.#article(i), tokens: tokens.slice(), unknown: erased.slice(), toDraw, drawn: 0, head: -1, candidates: null,
    }));
    this.container.replaceChildren(...this.#results.map((one) => one.article));
    this.#results.forEach((one) => this.#show(one));
  }

  /** The number of candidates each picture is drawn with, null for none. */
  setCandidates(candidates) {
    this.#results.forEach((one) => { one.candidates = candidates; });
  }

  /** Takes in one message of pixels: a run `from` a position, or the positions `at`. */
  add({ image, from, at, tokens, effective }) {
    const one = this.#results[image];
    if (!one) return;
    tokens.forEach((token, k) => {
      const position = at ? at[k] : from + k;
      one.tokens[position] = token;
      one.drawn += one.unknown[position];
      one.unknown[position] = 0;
      one.head = position;
    });
    if (effective != null) one.effective = effective;
    this.#show(one);
  }

  /** Sets the pictures as the server's last word has them. */
  finish(images) {
    images.forEach(({ tokens, effective_candidates: effective }, i) => {
      const one = this.#results[i];
      if (!one) return;
      one.tokens.set(tokens);
      one.unknown.fill(0);
      Object.assign(one, { drawn: one.toDraw, head: -1, whole: true, effective: effective ?? one.effective });
      for (const button of one.article.querySelectorAll("button")) button.disabled = false;
      this.#show(one);
    });
  }

  /** Says of each unfinished picture that it stays as it is. */
  halt() {
    for (const one of this.#results) {
      one.head = -1;
      one.halted = !one.whole;
      this.#show(one);
    }
  }

  /** One PNG of all the whole pictures. */
  downloadAll() {
    const whole = this.#results.filter((one) => one.whole).map((one) => this.#dots(one));
    if (whole.length) download(enlarged(whole, Math.ceil(Math.sqrt(whole.length))), `${this.#name}-all.png`);
  }

  #article(i) {
    const article = document.createElement("article");
    article.className = "result";
    article.setAttribute("aria-label", `Completion ${i + 1}`);
    const canvas = document.createElement("canvas");
    const factor = factorFor(DOTS, this.height, this.width);
    Object.assign(canvas, { width: this.width * factor, height: this.height * factor });
    canvas.dataset.image = i;
    canvas.setAttribute("role", "img");
    const progress = Object.assign(document.createElement("p"), { className: "progress" });
    const use = button("use", "Use this one", `Use this one: completion ${i + 1} becomes the picture`);
    const keep = button("download", "⤓", `Download completion ${i + 1} as a PNG`);
    const buttons = Object.assign(document.createElement("div"), { className: "actions" });
    buttons.append(use, keep);
    article.append(canvas, progress, buttons);
    const one = { article, canvas, progress, factor, number: i + 1 };
    use.addEventListener("click", () => this.use(this.#results[i].tokens.slice(), i + 1));
    keep.addEventListener("click", () => download(enlarged([this.#dots(this.#results[i])]), `${this.#name}-${i + 1}.png`));
    return one;
  }

  #show(one) {
    one.canvas.dataset.drawn = one.drawn;
    one.canvas.setAttribute("aria-label", `Completion ${one.number}: ${one.drawn} of ${one.toDraw} pixels drawn`);
    one.progress.textContent = this.#progressOf(one);
    if (one.waiting) return;
    one.waiting = true;
    requestAnimationFrame(() => {
      one.waiting = false;
      this.#draw(one);
    });
  }

  #progressOf(one) {
    const effective = one.candidates && one.effective != null ? ` · ${one.effective.toFixed(1)} of ${one.candidates} effective` : "";
    if (one.whole) return `${one.toDraw} pixels drawn${effective}`;
    if (one.halted) return `stopped at ${one.drawn} of ${one.toDraw}`;
    return `${one.drawn} of ${one.toDraw} pixels${effective}`;
  }

  #draw(one) {
    const colors = pageColors();
    hatch(one.canvas, one.factor, colors);
    layOver(one.canvas, this.#dots(one));
    if (one.head < 0 || this.calm.matches) return;
    const context = one.canvas.getContext("2d");
    context.strokeStyle = colors.accent;
    context.lineWidth = Math.max(2, one.factor / 8);
    const [x, y] = [(one.head % this.width) * one.factor, Math.floor(one.head / this.width) * one.factor];
    context.strokeRect(x, y, one.factor, one.factor);
  }

  #dots(one) {
    return dots(this.height, this.width, (i) => (one.unknown[i] ? null : this.palette[one.tokens[i]]));
  }
}

function button(className, text, label) {
  const made = Object.assign(document.createElement("button"), { type: "button", className, textContent: text, disabled: true });
  made.setAttribute("aria-label", label);
  made.title = label;
  return made;
}
