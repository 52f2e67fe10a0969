// The controls beside the canvas: settings of a request, tools, and the palette to paint with.

const SETTINGS = [
  { id: "completions", whole: true }, { id: "candidates", whole: true }, { id: "steps", whole: true },
  { id: "temperature" }, { id: "top-k", whole: true }, { id: "top-p" }, { id: "seed", whole: true },
];

export const element = (id) => document.getElementById(id);

/** Every setting as a number within its bounds, by id; what is out of bounds or empty is put right in its field. */
export function readSettings() {
  return Object.fromEntries(SETTINGS.map(({ id, whole }) => [id, readNumber(element(id), whole)]));
}

function readNumber(input, whole) {
  const wanted = input.value.trim() === "" ? Number(input.defaultValue) : Number(input.value);
  const number = Number.isFinite(wanted) ? wanted : Number(input.defaultValue);
  const least = Math.max(number, Number(input.min));
  const within = input.max === "" ? least : Math.min(least, Number(input.max));
  const value = whole ? Math.round(within) : within;
  input.value = value;
  return value;
}

/** Sets the bounds that depend on the model. */
export function boundSettings(model) {
  const { limits, n_vocab: colors, height, width } = model;
  element("completions").max = limits.completions;
  element("candidates").max = limits.candidates;
  element("top-k").max = colors;
  element("steps").max = height * width;
  element("rows").max = height;
  readSettings();
}

/** The seed of a run: another each time if that is wanted, unless the one in the field was not used yet. */
export class Seed {
  #used = null;

  constructor() {
    element("dice").addEventListener("click", () => this.roll());
  }

  roll() {
    element("seed").value = crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000;
  }

  /** Makes the field hold the seed for the next run. */
  next() {
    if (element("new-seed").checked && Number(element("seed").value) === this.#used) this.roll();
    this.#used = Number(element("seed").value);
  }
}

/** Joins the tool buttons, the brush and the palette to an editor. */
export function connectTools(editor, hexes) {
  const buttons = [...element("tools").children];
  const choose = (tool) => {
    editor.tool = tool;
    buttons.forEach((button) => button.setAttribute("aria-pressed", button.dataset.tool === tool));
    element("palette").hidden = tool !== "paint";
  };
  const setBrush = (size) => {
    editor.brush = size;
    element("brush").value = size;
    element("brush-value").textContent = size === 1 ? "1 pixel" : `${size} × ${size}`;
    editor.redraw();
  };
  const palette = buildPalette(element("palette"), hexes, (token) => { editor.color = token; });
  buttons.forEach((button) => button.addEventListener("click", () => choose(button.dataset.tool)));
  element("brush").addEventListener("input", (event) => setBrush(Number(event.target.value)));
  editor.addEventListener("tool", ({ detail }) => choose(detail));
  editor.addEventListener("brush", ({ detail }) => setBrush(detail));
  editor.addEventListener("pick", ({ detail }) => { choose("paint"); palette.choose(detail); });
  setBrush(editor.brush);
  palette.choose(darkest(hexes));
  return { choose };
}

/** Swatches as one radio group: Tab enters it, arrow keys choose within it. */
function buildPalette(container, hexes, chosen) {
  const order = hexes.map((_, token) => token).sort((a, b) => hueOrder(hexes[a]) - hueOrder(hexes[b]));
  const swatches = order.map((token) => swatch(hexes[token], token));
  container.replaceChildren(...swatches);
  const choose = (token) => {
    for (const one of swatches) {
      const is = Number(one.dataset.token) === token;
      one.setAttribute("aria-checked", is);
      one.tabIndex = is ? 0 : -1;
    }
    chosen(token);
  };
  container.addEventListener("click", ({ target }) => {
    if (target.dataset.token) choose(Number(target.dataset.token));
  });
  container.addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const at = swatches.indexOf(event.target);
    if (!move || at < 0) return;
    event.preventDefault();
    const next = swatches[(at + move + swatches.length) % swatches.length];
    choose(Number(next.dataset.token));
    next.focus();
  });
  return { choose };
}

function swatch(hex, token) {
  const button = Object.assign(document.createElement("button"), { type: "button", title: hex });
  button.setAttribute("role", "radio");
  button.setAttribute("aria-label", `Colour ${hex}`);
  button.dataset.token = token;
  button.style.background = hex;
  return button;
}

/** Greys first from dark to light, then the hues around the circle, each from dark to light. */
function hueOrder(hex) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
  const [high, low] = [Math.max(r, g, b), Math.min(r, g, b)];
  const spread = high - low;
  if (spread < 0.12) return high;
  const sixth = high === r ? ((g - b) / spread + 6) % 6 : high === g ? (b - r) / spread + 2 : (r - g) / spread + 4;
  return 2 + Math.round(2 * sixth) * 2 + high;
}

function darkest(hexes) {
  return byLightness(hexes)[0];
}

export function lightest(hexes) {
  return byLightness(hexes).at(-1);
}

function byLightness(hexes) {
  const lightness = (hex) => [1, 3, 5].reduce((sum, at) => sum + parseInt(hex.slice(at, at + 2), 16), 0);
  return hexes.map((_, token) => token).sort((a, b) => lightness(hexes[a]) - lightness(hexes[b]));
}
