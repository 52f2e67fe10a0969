// The canvas on which a picture is edited: a brush by mouse, pen or finger, and a cursor with rectangles by keyboard.

import { dots, factorFor, hatch, layOver, pageColors } from "./studio-pixels.js";

const DOTS = 768;
const STEPS = { erase: "rub out", restore: "restore", paint: "paint" };
const TOOL_KEYS = { e: "erase", r: "restore", p: "paint" };
const MOVES = {
  ArrowUp: () => ({ row: -1 }), ArrowDown: () => ({ row: 1 }),
  ArrowLeft: () => ({ column: -1 }), ArrowRight: () => ({ column: 1 }),
  Home: (picture) => ({ column: -picture.width }), End: (picture) => ({ column: picture.width }),
  PageUp: (picture) => ({ row: -picture.height }), PageDown: (picture) => ({ row: picture.height }),
};

/** Sends "cursor" ({pixel, by}) when another pixel is pointed at, "tool" and "brush" when keys choose them, and "pick"
 * when a colour is taken from the picture. */
export class Editor extends EventTarget {
  tool = "erase";
  brush = 3;
  color = 0;
  #cursor = null;
  #anchor = null;
  #hovered = false;
  #stroke = false;
  #overlay = null;
  #waiting = false;

  constructor(canvas, picture, palette) {
    super();
    Object.assign(this, { canvas, picture, palette });
    this.cell = factorFor(DOTS, picture.height, picture.width);
    canvas.width = picture.width * this.cell;
    canvas.height = picture.height * this.cell;
    picture.addEventListener("change", () => this.redraw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    this.#listenToPointer();
    this.#listenToKeys();
    this.redraw();
  }

  /** Lays `source` (a canvas of one dot a pixel) over the picture; null takes it off. */
  overlay(source, opacity) {
    this.#overlay = source && { source, opacity };
    this.redraw();
  }

  /** Draws before the next frame, once however often it is asked. */
  redraw() {
    if (this.#waiting) return;
    this.#waiting = true;
    requestAnimationFrame(() => {
      this.#waiting = false;
      this.#draw();
    });
  }

  #listenToPointer() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#drag(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => this.#lift());
    canvas.addEventListener("pointerleave", () => { this.#hovered = false; this.redraw(); });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  #press(event) {
    const pixel = this.#pixelAt(event);
    if (event.altKey) {
      this.dispatchEvent(new CustomEvent("pick", { detail: this.picture.tokens[this.#index(pixel)] }));
      return;
    }
    this.canvas.setPointerCapture(event.pointerId);
    // The other mouse button does the opposite.
    this.#stroke = event.button === 2 ? (this.tool === "erase" ? "restore" : "erase") : this.tool;
    this.#anchor = null;
    this.picture.begin();
    this.#apply(this.picture.under(pixel, this.brush), this.#stroke);
    this.#point(pixel, "pointer");
  }

  #drag(event) {
    const pixel = this.#pixelAt(event);
    this.#hovered = event.pointerType !== "touch";
    if (this.#stroke) {
      for (const between of line(this.#cursor ?? pixel, pixel)) {
        this.#apply(this.picture.under(between, this.brush), this.#stroke);
      }
    }
    this.#point(pixel, "pointer");
  }

  #lift() {
    if (!this.#stroke) return;
    this.picture.end(STEPS[this.#stroke]);
    this.#stroke = false;
  }

  #listenToKeys() {
    this.canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (this.#keyHandled(event)) event.preventDefault();
    });
    this.canvas.addEventListener("focus", () => {
      this.#cursor ??= { row: 0, column: 0 };
      this.redraw();
    });
    this.canvas.addEventListener("blur", () => this.redraw());
  }

  #keyHandled({ key, shiftKey }) {
    if (key in MOVES) this.#walk(MOVES[key](this.picture), shiftKey);
    else if (key === " " || key === "Enter") this.#applyByKey(this.tool);
    else if (key === "Delete" || key === "Backspace") this.#applyByKey("erase");
    else if (key === "Escape" && this.#anchor) this.#anchor = null;
    else if (/^[1-8]$/.test(key)) this.dispatchEvent(new CustomEvent("brush", { detail: Number(key) }));
    else if (key in TOOL_KEYS) this.dispatchEvent(new CustomEvent("tool", { detail: TOOL_KEYS[key] }));
    else return false;
    this.redraw();
    return true;
  }

  #walk({ row = 0, column = 0 }, extend) {
    const from = this.#cursor ?? { row: 0, column: 0 };
    this.#anchor = extend ? this.#anchor ?? from : null;
    this.#point(this.#inside({ row: from.row + row, column: from.column + column }), "keyboard");
  }

  #applyByKey(tool) {
    const cursor = this.#cursor ?? { row: 0, column: 0 };
    const positions = this.#anchor ? this.picture.rectangle(this.#anchor, cursor) : this.picture.under(cursor, this.brush);
    this.picture.step(STEPS[tool], () => this.#apply(positions, tool));
    this.#anchor = null;
    this.#point(cursor, "keyboard");
  }

  #apply(positions, tool) {
    if (tool === "paint") this.picture.paint(positions, this.color);
    else this.picture[tool](positions);
  }

  #point(pixel, by) {
    const moved = this.#cursor?.row !== pixel.row || this.#cursor?.column !== pixel.column;
    this.#cursor = pixel;
    this.redraw();
    if (moved || by === "keyboard") {
      const detail = { pixel, by, rectangle: this.#anchor && this.picture.rectangle(this.#anchor, pixel).length };
      this.dispatchEvent(new CustomEvent("cursor", { detail }));
    }
  }

  #pixelAt(event) {
    const box = this.canvas.getBoundingClientRect();
    return this.#inside({
      row: Math.floor((event.clientY - box.top) / box.height * this.picture.height),
      column: Math.floor((event.clientX - box.left) / box.width * this.picture.width),
    });
  }

  #inside({ row, column }) {
    const within = (value, end) => Math.min(Math.max(value, 0), end - 1);
    return { row: within(row, this.picture.height), column: within(column, this.picture.width) };
  }

  #index({ row, column }) { return row * this.picture.width + column; }

  #draw() {
    const { canvas, picture, palette, cell } = this;
    const colors = pageColors();
    hatch(canvas, cell, colors);
    const known = (i) => (picture.erased[i] ? null : palette[picture.tokens[i]]);
    layOver(canvas, dots(picture.height, picture.width, known));
    if (this.#overlay) layOver(canvas, this.#overlay.source, this.#overlay.opacity);
    this.#drawGrid();
    if (this.#anchor) this.#outline(this.#anchor, this.#cursor, colors.second);
    if (this.#cursor && (this.#hovered || canvas.matches(":focus-visible"))) this.#drawCursor(colors.accent);
  }

  #drawGrid() {
    if (this.cell < 8) return;
    const context = this.canvas.getContext("2d");
    context.strokeStyle = "#80808038";
    context.lineWidth = 1;
    context.beginPath();
    for (let x = this.cell; x < this.canvas.width; x += this.cell) segment(context, x + .5, 0, x + .5, this.canvas.height);
    for (let y = this.cell; y < this.canvas.height; y += this.cell) segment(context, 0, y + .5, this.canvas.width, y + .5);
    context.stroke();
  }

  #drawCursor(color) {
    this.#outline(this.#cursor, this.#cursor, color);
    if (this.brush > 1 && !this.#anchor) {
      const corner = { row: this.#cursor.row - (this.brush >> 1), column: this.#cursor.column - (this.brush >> 1) };
      this.#outline(corner, { row: corner.row + this.brush - 1, column: corner.column + this.brush - 1 }, "#fff");
    }
  }

  /** A frame around a rectangle of pixels, edged in black and white so that it shows on any colour. */
  #outline(a, b, color) {
    const context = this.canvas.getContext("2d");
    const [top, left] = [Math.min(a.row, b.row) * this.cell, Math.min(a.column, b.column) * this.cell];
    const [bottom, right] = [(Math.max(a.row, b.row) + 1) * this.cell, (Math.max(a.column, b.column) + 1) * this.cell];
    for (const [width, stroke] of [[7, "#000"], [4, color], [1, "#fff"]]) {
      context.lineWidth = width;
      context.strokeStyle = stroke;
      context.strokeRect(left, top, right - left, bottom - top);
    }
  }
}

function segment(context, fromX, fromY, toX, toY) {
  context.moveTo(fromX, fromY);
  context.lineTo(toX, toY);
}

/** The pixels on the way from `a` (left out unless it is `b`) to `b`. */
function line(a, b) {
  const length = Math.max(Math.abs(b.row - a.row), Math.abs(b.column - a.column));
  if (length === 0) return [b];
  return Array.from({ length }, (_, i) => ({
    row: Math.round(a.row + (b.row - a.row) * (i + 1) / length),
    column: Math.round(a.column + (b.column - a.column) * (i + 1) / length),
  }));
}
