// What is known of the run: the snapshot, and curves that grow without getting long.

/** Most points of a curve, as many as the server sends. */
const POINTS = 2000;
const NOTES = 200;
const CURVES = ["train", "validation", "lr", "tokens_per_s", "grad_norm", "accuracy", "probe"];

/** A run from the server's whole snapshot. */
export function begin(whole) {
  const curves = Object.fromEntries(CURVES.map((name) => [name, whole.curves[name] ?? []]));
  return { ...whole, curves };
}

/** The run after an event: the newer snapshot, with what is new added to what was there. */
export function proceed(run, event) {
  const { new: added, ...snapshot } = event;
  for (const name of CURVES) extend(run.curves[name], added[name] ?? []);
  const unknown = (added.notes ?? []).filter((line) => !run.notes.includes(line));
  const notes = unknown.length ? [...run.notes, ...unknown].slice(-NOTES) : run.notes;
  return { ...run, ...snapshot, notes };
}

/** Whether an event tells that the run has begun, so that what events leave out (the palette) is to be fetched. */
export function hasBegun(run, event) {
  const nothingYet = run.palette.length === 0 && run.step === 0;
  return nothingYet && (event.step > 0 || event.state !== run.state);
}

/** Adds the points that lie after the last one; an event may repeat what the snapshot had. */
function extend(curve, points) {
  for (const point of points) {
    if (curve.length && point[0] <= curve.at(-1)[0]) continue;
    curve.push(point);
    if (curve.length > POINTS) curve.splice(densest(curve), 1);
  }
}

/** The inner point with the nearest neighbours: without it the curve stays evenly covered. */
function densest(curve) {
  let best = 1;
  let least = Infinity;
  for (let i = 1; i < curve.length - 1; i++) {
    const gap = curve[i + 1][0] - curve[i - 1][0];
    if (gap < least) [best, least] = [i, gap];
  }
  return best;
}
