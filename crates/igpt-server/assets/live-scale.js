// From values to places: ranges that show what matters, ticks at round numbers, smoothing.

/** Where `value` lies between `low` and `high`, on a scale from `from` to `to`. */
export function linear([low, high], [from, to]) {
  const unit = (to - from) / (high - low || 1);
  return (value) => from + (value - low) * unit;
}

/** The same by magnitude; everything below 1 lies at 1. */
export function logarithmic([low, high], places) {
  const size = (value) => Math.log(Math.max(1, value));
  const place = linear([size(low), size(high)], places);
  return (value) => place(size(value));
}

/** About `most` round numbers from `low` to `high`. */
export function ticks([low, high], most) {
  const rough = (high - low) / Math.max(1, most);
  if (!(rough > 0)) return [low];
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const unit = [1, 2, 5, 10].find((unit) => unit * magnitude >= rough * 0.999) * magnitude;
  const first = Math.ceil(low / unit - 1e-9);
  const last = Math.floor(high / unit + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * unit).toPrecision(12)));
}

/** Powers of ten, with those between them where there are few. */
export function logTicks([low, high], most) {
  const within = (values) => values.filter((value) => value >= Math.max(1, low) && value <= high);
  const powers = Array.from({ length: 13 }, (_, i) => 10 ** i);
  const fine = within(powers.flatMap((power) => [power, 2 * power, 5 * power]));
  return fine.length <= most ? fine : within(powers);
}

/** Digits after the point that tell ticks apart. */
export function digits(values) {
  const unit = values.length > 1 ? values[1] - values[0] : Math.abs(values[0]) || 1;
  return Math.max(0, Math.ceil(-Math.log10(unit) - 1e-9));
}

export function quantile(values, share) {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.round(share * (sorted.length - 1))];
}

/** Points that a smoothed one stands for at most, and how fast that many are reached: the first fall is not delayed. */
const [WINDOW, GROWTH] = [14, 1 / 12];

/** A curve without the noise of single batches: a moving mean. */
export function smooth(points) {
  let sum = 0;
  let weight = 0;
  return points.map(([step, value], i) => {
    const memory = 1 - 1 / Math.min(WINDOW, 1 + GROWTH * i);
    sum = memory * sum + value;
    weight = memory * weight + 1;
    return [step, sum / weight];
  });
}

/** From the lowest to the highest value, with a little room. */
export function fullRange(values) {
  return roomy(values.reduce((a, b) => Math.min(a, b), Infinity), values.reduce((a, b) => Math.max(a, b), -Infinity));
}

/** From zero to the highest value but for outliers. */
export function rangeFromZero(values) {
  return [0, 1.08 * quantile(values, 0.995) || 1];
}

/** The part of a loss curve in which something happens: the first fall is cut off, and levels near enough to be
 * passed, or to have been passed of late, are in view. */
export function interestingRange(train, validation, levels) {
  const values = [...train, ...validation];
  if (train.length < 30) return fullRange(values);
  const low = Math.min(quantile(train, 0.005), ...validation);
  const high = quantile(train, 0.9);
  const reach = Math.max(high - low, 0.02 * high);
  const near = levels.filter((level) => level > low - reach && level < high + reach);
  return roomy(Math.min(low, ...near), Math.max(high, ...near));
}

/** With more room below, where a level's name may have to go. */
function roomy(low, high) {
  const span = high - low || Math.abs(high) || 1;
  return [low - 0.1 * span, high + 0.06 * span];
}

/** The index of the point nearest to `step`. */
export function nearest(points, step) {
  let [from, to] = [0, points.length - 1];
  while (to - from > 1) {
    const middle = (from + to) >> 1;
    if (points[middle][0] <= step) from = middle;
    else to = middle;
  }
  return Math.abs(points[to]?.[0] - step) < Math.abs(points[from]?.[0] - step) ? to : from;
}
