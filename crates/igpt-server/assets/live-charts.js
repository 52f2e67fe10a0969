// Which charts there are: the loss, and small ones for whatever else was measured.

import { Chart } from "./live-chart.js";
import { compact, count, nats, share, short } from "./live-format.js";
import { fullRange, interestingRange, rangeFromZero } from "./live-scale.js";

const values = (points) => points.map(([, value]) => value);
const byId = (id) => document.getElementById(id);
const shares = { value: share, tick: (value) => `${Math.round(100 * value)} %` };
const sizes = { value: short, tick: compact };

const SMALL = [
  { key: "accuracy", name: "Accuracy on validation images", kind: "dots", format: shares, range: fullRange },
  { key: "probe", name: "Accuracy of a linear probe", kind: "dots", format: shares, range: fullRange },
  { key: "lr", name: "Learning rate", kind: "line", format: sizes, range: rangeFromZero },
  { key: "tokens_per_s", name: "Tokens a second", kind: "line", format: sizes, range: rangeFromZero },
  { key: "grad_norm", name: "Gradient norm", kind: "smoothed", format: sizes, range: rangeFromZero },
];

export class LossChart {
  #chart;
  #log = false;
  #run = null;

  constructor(speak) {
    const lines = [
      { key: "train", name: "training", kind: "smoothed" },
      { key: "validation", name: "validation", kind: "dots" },
    ];
    this.#chart = new Chart(byId("loss-chart"), { name: "Loss in nats", lines, format: { value: nats }, speak });
    byId("log-steps").addEventListener("click", () => this.#toggle());
    byId("numbers").addEventListener("toggle", () => this.#drawNumbers());
  }

  show(run) {
    this.#run = run;
    const { train, validation } = run.curves;
    byId("loss-section").hidden = train.length + validation.length === 0;
    if (byId("loss-section").hidden) return;
    this.#chart.show({ curves: run.curves, range: this.#range(), levels: run.baselines });
    byId("standing").textContent = run.verdict ?? "";
    this.#drawNumbers();
  }

  /** With steps by magnitude the first fall has its own room: then all of it is shown. */
  #range() {
    const { train, validation } = this.#run.curves;
    const levels = this.#run.baselines.map((level) => level.nats);
    const [trained, validated] = [values(train), values(validation)];
    return this.#log ? fullRange([...trained, ...validated, ...levels]) : interestingRange(trained, validated, levels);
  }

  #toggle() {
    this.#log = !this.#log;
    byId("log-steps").setAttribute("aria-pressed", this.#log);
    this.#chart.logSteps = this.#log;
    if (this.#run) this.show(this.#run);
  }

  #drawNumbers() {
    if (byId("numbers").open && this.#run) byId("numbers-rows").replaceChildren(...numbers(this.#run.curves));
  }
}

/** Up to 24 rows of a table, evenly spread, the newest first. */
function numbers({ train, validation }) {
  const at = new Map(validation);
  const trained = new Map(train);
  const steps = [...new Set([...trained.keys(), ...at.keys()])].sort((a, b) => b - a);
  const wanted = validation.length >= 2 ? [...at.keys()].reverse() : steps;
  const each = Math.ceil(wanted.length / 24);
  return wanted.filter((_, i) => i % each === 0).map((step) => row([count(step), nats(trained.get(step)), nats(at.get(step))]));
}

function row([step, ...cells]) {
  const line = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = step;
  line.append(head);
  for (const cell of cells) line.insertCell().textContent = cell;
  return line;
}

/** The small charts, each made once there are data for it. */
export class SmallCharts {
  #charts = new Map();
  #speak;

  constructor(speak) {
    this.#speak = speak;
  }

  show({ curves }) {
    for (const kind of SMALL) {
      const points = curves[kind.key];
      const wanted = points.length > 1;
      if (wanted && !this.#charts.has(kind.key)) this.#charts.set(kind.key, this.#make(kind));
      const made = this.#charts.get(kind.key);
      if (!made) continue;
      made.figure.hidden = !wanted;
      if (wanted) made.chart.show({ curves, range: kind.range(values(points)) });
    }
    byId("measures").hidden = [...this.#charts.values()].every(({ figure }) => figure.hidden);
  }

  #make({ key, name, kind, format }) {
    const figure = document.createElement("div");
    Object.assign(figure, { className: "chart small", id: `chart-${key}` });
    byId("small-charts").append(figure);
    const chart = new Chart(figure, { name, lines: [{ key, name, kind }], format, speak: this.#speak });
    return { figure, chart };
  }
}
