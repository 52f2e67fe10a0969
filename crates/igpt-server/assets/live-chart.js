// A line chart in SVG that is drawn once and then only moved: paths get new points, ticks change when the range does.
// Its key shows the newest values, or those under the pointer; with the keyboard one goes from point to point.

import { digits, linear, logarithmic, logTicks, nearest, smooth, ticks } from "./live-scale.js";
import { count } from "./live-format.js";

const SVG = "http://www.w3.org/2000/svg";
/** Space around the plot: ticks below and to the left. */
const EDGE = { top: 10, right: 8, bottom: 24, left: 46 };
const LABEL_HEIGHT = 16;
/** Points nearer to one another are only a line. */
const CLOSEST = 7;
const KEY_STEPS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -Infinity, End: Infinity };

export class Chart {
  #plot = html("div", { className: "plot", tabIndex: 0, role: "img" });
  #svg = svg("svg", { "aria-hidden": "true" });
  #grid = svg("g", { class: "grid" });
  #levels = svg("g", { class: "levels" });
  #window = svg("rect", {});
  #cursor = svg("path", { class: "cursor" });
  #at = html("span", { className: "at" });
  #lines;
  #name;
  #format;
  #speak;
  #data = null;
  #log = false;
  /** The step under the cursor. */
  #step = null;
  /** Places of steps and values; none before the first drawing. */
  #x = null;
  #y = null;

  /** A chart in `host`. `lines` are {key, name, kind: "line" | "smoothed" | "dots"}; `speak(text)` is told the values
   * that the keyboard leads to. */
  constructor(host, { name, lines, format, speak }) {
    [this.#name, this.#format, this.#speak] = [name, format, speak];
    const clip = `clip-${host.id}`;
    const curves = svg("g", { "clip-path": `url(#${clip})` });
    this.#lines = lines.map((line) => new Line(line, curves));
    const clipping = svg("clipPath", { id: clip });
    clipping.append(this.#window);
    this.#svg.append(clipping, this.#grid, curves, this.#levels, this.#cursor);
    this.#plot.append(this.#svg);
    const key = html("p", { className: "key" });
    key.append(...this.#lines.map((line) => line.entry), this.#at);
    host.append(key, this.#plot);
    this.#listen();
  }

  /** Shows `curves` (points by key) within `range`, and `levels` ({name, nats}) as lines across. */
  show({ curves, range, levels = [] }) {
    this.#data = { curves, range, levels };
    this.draw();
  }

  set logSteps(log) {
    this.#log = log;
  }

  draw() {
    const { width, height } = this.#size();
    if (!this.#data || width <= 0 || height <= 0) return;
    const { curves, range } = this.#data;
    const all = this.#lines.map((line) => curves[line.key]).filter((points) => points.length);
    const steps = [Math.min(...all.map((points) => points[0][0])), Math.max(...all.map((points) => points.at(-1)[0]))];
    this.#x = (this.#log ? logarithmic : linear)(steps, [EDGE.left, EDGE.left + width]);
    this.#y = linear(range, [EDGE.top + height, EDGE.top]);
    set(this.#window, { x: EDGE.left - 4, y: EDGE.top - 4, width: width + 8, height: height + 8 });
    this.#drawGrid(steps, range, width, height);
    this.#drawLevels(range, width);
    for (const line of this.#lines) line.draw(curves[line.key], this.#x, this.#y);
    this.#drawValues();
    this.#plot.setAttribute("aria-label", `${this.#name} by step. Newest: ${this.#sentence(null)}.`);
  }

  #size() {
    const { clientWidth, clientHeight } = this.#plot;
    return { width: clientWidth - EDGE.left - EDGE.right, height: clientHeight - EDGE.top - EDGE.bottom };
  }

  #drawGrid(steps, range, width, height) {
    const across = (this.#log ? logTicks : ticks)(steps, Math.max(3, width / 75));
    const up = ticks(range, Math.max(3, height / 44));
    const places = digits(up);
    const [left, bottom] = [EDGE.left, EDGE.top + height];
    const tick = (value) => (this.#format.tick ? this.#format.tick(value) : value.toFixed(places));
    const signature = [across, up, width, height, steps, range, this.#log].join();
    if (this.#grid.dataset.signature === signature) return;
    this.#grid.dataset.signature = signature;
    this.#grid.replaceChildren(
      ...up.map((value) => svg("path", { d: `M${left} ${this.#y(value)}h${width}`, class: "rule" })),
      ...up.map((value) => text(tick(value), { x: left - 8, y: this.#y(value) + 4, class: "y" })),
      svg("path", { d: `M${left} ${bottom}h${width}`, class: "base" }),
      ...across.map((step) => text(count(step), { x: this.#x(step), y: bottom + 17, class: anchor(this.#x(step), left + width) })),
    );
  }

  /** Lines across, each with its name at the right on the side where the curves are not. */
  #drawLevels([low, high], width) {
    const end = smooth(this.#leader).at(-1)[1];
    const shown = this.#data.levels.filter(({ nats }) => nats >= low && nats <= high).sort((a, b) => a.nats - b.nats);
    const above = shown.filter(({ nats }) => nats >= end);
    const below = shown.filter(({ nats }) => nats < end).reverse();
    const right = EDGE.left + width;
    const lines = shown.map(({ nats }) => svg("path", { d: `M${EDGE.left} ${this.#y(nats)}H${right}` }));
    this.#levels.replaceChildren(...lines, ...this.#levelNames(above, -1, right), ...this.#levelNames(below, 1, right));
  }

  /** Names above (-1) or below (1) their lines, pushed on where they would overlap. */
  #levelNames(levels, side, right) {
    let free = -Infinity;
    return levels.map(({ name, nats }) => {
      const offset = side < 0 ? -5 : 14;
      const y = side * Math.max(free, side * (this.#y(nats) + offset));
      free = side * y + LABEL_HEIGHT;
      return text(`${name} ${nats.toFixed(2)}`, { x: right, y });
    });
  }

  #listen() {
    const plot = this.#plot;
    plot.addEventListener("pointermove", (event) => this.#point(event.clientX));
    plot.addEventListener("pointerdown", (event) => this.#point(event.clientX));
    plot.addEventListener("pointerleave", () => this.#leave());
    plot.addEventListener("blur", () => this.#leave());
    plot.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.draw()).observe(plot);
  }

  /** The curve with the most points leads the cursor. */
  get #leader() {
    const curves = this.#lines.map((line) => this.#data.curves[line.key]);
    return curves.reduce((a, b) => (b.length > a.length ? b : a));
  }

  #point(clientX) {
    if (!this.#x) return;
    const x = clientX - this.#plot.getBoundingClientRect().left;
    const away = this.#leader.map(([step]) => Math.abs(this.#x(step) - x));
    this.#go(this.#leader[away.indexOf(Math.min(...away))][0]);
  }

  #key(event) {
    if (event.key === "Escape") return this.#leave();
    const by = KEY_STEPS[event.key];
    if (by === undefined || !this.#x) return;
    event.preventDefault();
    const points = this.#leader;
    const from = this.#step === null ? points.length - (by < 0 ? 0 : 1) : nearest(points, this.#step);
    this.#go(points[Math.max(0, Math.min(points.length - 1, from + by))][0]);
    this.#speak(this.#sentence(this.#step));
  }

  #go(step) {
    this.#step = step;
    this.#drawValues();
  }

  #leave() {
    this.#go(null);
  }

  #drawValues() {
    if (!this.#x) return;
    const step = this.#step;
    const height = this.#size().height;
    set(this.#cursor, { d: step === null ? "" : `M${this.#x(step)} ${EDGE.top}v${height}` });
    for (const line of this.#lines) line.value.textContent = this.#format.value(this.#valueAt(line, step)?.[1]);
    this.#at.textContent = step === null ? "" : `step ${count(step)}`;
  }

  /** The point of a line at `step` (none if there is none near), or its newest one. */
  #valueAt(line, step) {
    const points = this.#data.curves[line.key];
    if (step === null || points.length === 0) return points.at(-1);
    const point = points[nearest(points, step)];
    return Math.abs(this.#x(point[0]) - this.#x(step)) < 12 ? point : undefined;
  }

  #sentence(step) {
    const said = this.#lines.map((line) => [line, this.#valueAt(line, step)]).filter(([, point]) => point);
    const values = said.map(([line, point]) => `${line.name} ${this.#format.value(point[1])}`).join(", ");
    return `${values} at step ${count(step ?? Math.max(...said.map(([, point]) => point[0])))}`;
  }
}

/** One curve and its entry in the key. */
class Line {
  value = html("b", {});
  entry = html("span", {});
  #paths;

  constructor({ key, name, kind }, curves) {
    [this.key, this.name, this.kind] = [key, name, kind];
    const classes = { line: ["line"], smoothed: ["raw", "line"], dots: ["line", "dots"] }[kind];
    this.#paths = classes.map((shape) => curves.appendChild(svg("path", { class: `${shape} ${key}` })));
    this.entry.className = `${key} ${kind}`;
    this.entry.append(`${name} `, this.value);
  }

  draw(points, x, y) {
    this.entry.hidden = points.length === 0;
    const through = (points) => points.map(([step, value]) => `${x(step).toFixed(1)} ${y(value).toFixed(1)}`);
    const line = (points) => (points.length ? `M${through(points).join("L")}` : "");
    const [first, second] = this.#paths;
    set(first, { d: line(points) });
    if (this.kind === "smoothed") set(second, { d: line(smooth(points)) });
    if (this.kind === "dots") set(second, { d: areApart(points, x) ? dots(through(points)) : "" });
  }
}

/** Whether points can be told from one another. */
function areApart(points, x) {
  if (points.length < 2) return true;
  return (x(points.at(-1)[0]) - x(points[0][0])) / points.length >= CLOSEST;
}

/** Strokes of no length, which get round ends: one path, however many points there are. */
function dots(places) {
  return places.map((place) => `M${place}h0`).join("");
}

const anchor = (x, right) => (x > right - 20 ? "x last" : "x");

function text(content, attributes) {
  const node = svg("text", attributes);
  node.textContent = content;
  return node;
}

function svg(name, attributes) {
  return set(document.createElementNS(SVG, name), attributes);
}

function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function html(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
