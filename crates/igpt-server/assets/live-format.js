// Numbers, times and states as people read them.

const WHOLE = new Intl.NumberFormat("en");
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const STATES = { waiting: "Waiting for the trainer", running: "Running", stopped: "Stopped", finished: "Finished" };
const NOTHING = "–";

export const stateName = (state) => STATES[state] ?? state;

const unlessNone = (format) => (value) => (Number.isFinite(value) ? format(value) : NOTHING);

export const count = unlessNone((value) => WHOLE.format(Math.round(value)));
export const nats = unlessNone((value) => value.toFixed(value < 10 ? 3 : 2));
export const share = unlessNone((value) => `${(100 * value).toFixed(1)} %`);
export const epochs = unlessNone((value) => value.toFixed(value < 10 ? 2 : 1));

/** Three significant digits, without a long row of zeros. */
export const short = unlessNone((value) => {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(1).replace("e+", "e");
  return size >= 1000 ? count(value) : String(Number(value.toPrecision(3)));
});

/** As short as a tick's label must be, "20k". */
export const compact = unlessNone((value) => (value >= 1000 ? COMPACT.format(value).replace("K", "k") : short(value)));

/** Seconds in the two largest units that matter. */
export const duration = unlessNone((seconds) => {
  const whole = Math.max(0, Math.round(seconds));
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  if (minutes >= 10) return `${minutes} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
});

/** How far the run is, "Step 1,200 of 9,000". */
export function way({ step, steps }) {
  return steps ? `Step ${count(step)} of ${count(steps)}` : `Step ${count(step)}`;
}

/** Done share of the run, null where its end is unknown. */
export function done({ step, steps }) {
  return steps ? Math.min(1, step / steps) : null;
}

/** The tab's title, "42 % · 1.93 nats · demo". */
export function tabTitle(run) {
  const part = done(run);
  const far = part === null ? `step ${count(run.step)}` : `${Math.floor(100 * part)} %`;
  const loss = run.validation ?? run.loss;
  const parts = [run.state === "running" ? far : stateName(run.state)];
  if (Number.isFinite(loss)) parts.push(`${loss.toFixed(2)} nats`);
  return [...parts, run.name].join(" · ");
}
