// Drawing of palette indices on canvases: whole cells for pixels, a hatch where nothing is known yet, heat for numbers,
// and enlarged copies to keep.

/** Stops of the heat scale, the same as in igpt's reports (matplotlib's "inferno"). */
const HEAT = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39],
  [252, 255, 164]];

/** "#rrggbb" as [r, g, b]. */
export function rgbOf(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

/** A colour between black (0) and bright yellow (1). */
export function heatColor(share) {
  const place = Math.min(Math.max(share || 0, 0), 1) * (HEAT.length - 1);
  const stop = Math.min(Math.floor(place), HEAT.length - 2);
  return HEAT[stop].map((low, c) => Math.round(low + (place - stop) * (HEAT[stop + 1][c] - low)));
}

/** A canvas of one dot a pixel; `colorOf(i)` gives [r, g, b] or null for a pixel that is left transparent. */
export function dots(height, width, colorOf) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const image = new ImageData(width, height);
  for (let i = 0; i < height * width; i++) {
    const color = colorOf(i);
    if (color) image.data.set([...color, 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** Lays `source` over the whole of a canvas, enlarged to sharp squares. */
export function layOver(canvas, source, opacity = 1) {
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.globalAlpha = opacity;
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  context.globalAlpha = 1;
}

/** The colours of the page that canvases need; read again when light turns to dark. */
export function pageColors() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  return { well: value("--well"), hatch: value("--hatch"), accent: value("--accent"), second: value("--second") };
}

/** Fills a canvas with the hatch that stands for pixels not known. */
export function hatch(canvas, cell, colors) {
  const context = canvas.getContext("2d");
  context.fillStyle = colors.well;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.strokeStyle = colors.hatch;
  context.lineWidth = Math.max(1, cell / 14);
  context.beginPath();
  for (let x = -canvas.height; x < canvas.width; x += cell / 2) {
    context.moveTo(x, canvas.height);
    context.lineTo(x + canvas.height, 0);
  }
  context.stroke();
}

/** The whole factor that brings a picture of this size near `side` dots. */
export function factorFor(side, height, width) {
  return Math.max(1, Math.floor(side / Math.max(height, width)));
}

/** The pictures `sources` (canvases of one dot a pixel) side by side, enlarged by a whole factor. */
export function enlarged(sources, columns = sources.length) {
  const { height, width } = sources[0];
  const factor = factorFor(512, height, width);
  const gap = sources.length > 1 ? factor : 0;
  const rows = Math.ceil(sources.length / columns);
  const [stepX, stepY] = [width * factor + gap, height * factor + gap];
  const sheet = Object.assign(document.createElement("canvas"), { width: columns * stepX - gap, height: rows * stepY - gap });
  const context = sheet.getContext("2d");
  context.imageSmoothingEnabled = false;
  sources.forEach((source, i) => {
    const [x, y] = [(i % columns) * stepX, Math.floor(i / columns) * stepY];
    context.drawImage(source, x, y, width * factor, height * factor);
  });
  return sheet;
}

/** Hands a canvas to the visitor as a PNG file. */
export function download(canvas, name) {
  canvas.toBlob((blob) => {
    const url = URL.createObjectURL(blob);
    Object.assign(document.createElement("a"), { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }, "image/png");
}
