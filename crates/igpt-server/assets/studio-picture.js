// The picture that is edited: a palette index for each pixel, which pixels are erased, and every earlier state for
// undo and redo. Erasing keeps the colour below, so that a pixel can be restored. Nothing here knows of the page.

const DEEPEST = 300;

export class Picture extends EventTarget {
  #done = [];
  #undone = [];
  #before = null;

  constructor(height, width) {
    super();
    this.height = height;
    this.width = width;
    this.pixels = height * width;
    this.tokens = new Uint16Array(this.pixels);
    this.erased = new Uint8Array(this.pixels).fill(1);
  }

  /** Runs `edit` as one step of undo, named `label`. Steps inside a step count as one. */
  step(label, edit) {
    const outermost = this.begin();
    edit();
    if (outermost) this.end(label);
  }

  /** Opens a step that `end` closes (a stroke of the brush, a drag of the slider); false if one is open already. */
  begin() {
    if (this.#before) return false;
    this.#before = this.#snapshot();
    return true;
  }

  /** Closes the open step. A step that changed nothing is none. */
  end(label) {
    const before = this.#before;
    this.#before = null;
    if (!before || this.#equals(before)) return;
    this.#done.push({ ...before, label });
    if (this.#done.length > DEEPEST) this.#done.shift();
    this.#undone = [];
    this.#changed();
  }

  get canUndo() { return this.#done.length > 0; }
  get canRedo() { return this.#undone.length > 0; }

  /** Takes back the last step and gives its name; null if there is none, or one is open. */
  undo() { return this.#move(this.#done, this.#undone); }
  redo() { return this.#move(this.#undone, this.#done); }

  erase(positions) { this.#touch(positions, (i) => { this.erased[i] = 1; }); }
  restore(positions) { this.#touch(positions, (i) => { this.erased[i] = 0; }); }
  paint(positions, token) {
    this.#touch(positions, (i) => { this.tokens[i] = token; this.erased[i] = 0; });
  }

  /** Keeps the first `rows` rows and erases all the others. */
  keepRows(rows) {
    this.erased.fill(0).fill(1, rows * this.width);
    this.#changed();
  }

  /** The number of rows kept if exactly the rows below them are erased, else null. */
  get rowsKept() {
    const first = this.erased.indexOf(1);
    if (first < 0) return this.height;
    return first % this.width === 0 && this.endsInHole ? first / this.width : null;
  }

  /** Whether nothing known comes after the first erased pixel in raster order. */
  get endsInHole() {
    const first = this.erased.indexOf(1);
    return first < 0 || this.erased.indexOf(0, first) < 0;
  }

  get erasedCount() { return this.erased.reduce((sum, one) => sum + one, 0); }

  /** Positions of the pixels from corner `a` to corner `b` ({row, column} each, in any order), cut to the picture. */
  rectangle(a, b) {
    const [top, bottom] = [Math.min(a.row, b.row), Math.max(a.row, b.row)];
    const [left, right] = [Math.min(a.column, b.column), Math.max(a.column, b.column)];
    const positions = [];
    for (let row = Math.max(0, top); row <= Math.min(this.height - 1, bottom); row++) {
      for (let column = Math.max(0, left); column <= Math.min(this.width - 1, right); column++) {
        positions.push(row * this.width + column);
      }
    }
    return positions;
  }

  /** Positions under a square brush of side `size` around a pixel. */
  under(pixel, size) {
    const [row, column] = [pixel.row - (size >> 1), pixel.column - (size >> 1)];
    return this.rectangle({ row, column }, { row: row + size - 1, column: column + size - 1 });
  }

  #touch(positions, change) {
    positions.forEach(change);
    this.#changed();
  }

  #snapshot() { return { tokens: this.tokens.slice(), erased: this.erased.slice() }; }

  #equals({ tokens, erased }) {
    return tokens.every((t, i) => t === this.tokens[i]) && erased.every((e, i) => e === this.erased[i]);
  }

  #move(from, to) {
    const step = this.#before ? null : from.pop();
    if (!step) return null;
    to.push({ ...this.#snapshot(), label: step.label });
    this.tokens.set(step.tokens);
    this.erased.set(step.erased);
    this.#changed();
    return step.label;
  }

  #changed() { this.dispatchEvent(new Event("change")); }
}
