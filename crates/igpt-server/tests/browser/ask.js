// What tests ask of a page. It is there before the page's own scripts and changes nothing.

globalThis.ask = {
  /** Every value of these attributes so far, in order. */
  seen: { "data-drawn": [], "data-state": [] },

  /** The colours in the middle of the pixels of a canvas, once it is drawn. */
  async shown(selector, height, width) {
    await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
    const canvas = document.querySelector(selector);
    const [down, across] = [canvas.height / height, canvas.width / width];
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return Array.from({ length: height * width }, (_, i) => {
      const [row, column] = [Math.floor(i / width), i % width];
      const at = Math.floor((row + 0.5) * down) * canvas.width + Math.floor((column + 0.5) * across);
      return "#" + [...data.subarray(4 * at, 4 * at + 3)].map((value) => value.toString(16).padStart(2, "0")).join("");
    });
  },

  /** Texts that can be seen, with less contrast to what is behind them than `least`. */
  faint(least) {
    return [...document.querySelectorAll("body, body *")].filter(hasText).map((element) => {
      const style = getComputedStyle(element);
      const behind = background(element);
      const ink = over(channels(element instanceof SVGElement ? style.fill : style.color), behind);
      const [dark, bright] = [luminance(ink), luminance(behind)].sort((a, b) => a - b);
      const contrast = (bright + 0.05) / (dark + 0.05);
      return contrast < least ? `${contrast.toFixed(2)}: ${element.outerHTML.slice(0, 100)}` : null;
    }).filter(Boolean);
  },

  /** From 0, black, to 1, white. */
  brightness(selector) {
    return luminance(background(document.querySelector(selector)));
  },
};

new MutationObserver((changes) => {
  for (const { target, attributeName } of changes) ask.seen[attributeName].push(target.getAttribute(attributeName));
}).observe(document, { subtree: true, attributeFilter: Object.keys(ask.seen) });

function hasText(element) {
  const field = element.matches("input:is([type=number], [type=text], [type=password])");
  const text = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim() !== "");
  const visible = element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  // What is disabled may be faint, and what is for screen readers alone is clipped.
  return (field || text) && visible && !element.matches(":disabled, :disabled *, .visually-hidden, noscript");
}

/** The colour behind an element's text. */
function background(element) {
  if (!element) return [255, 255, 255, 1];
  const own = channels(getComputedStyle(element).backgroundColor);
  return own[3] === 1 ? own : over(own, background(element.parentElement));
}

function over([r, g, b, alpha], behind) {
  return [...[r, g, b].map((value, i) => alpha * value + (1 - alpha) * behind[i]), 1];
}

function channels(color) {
  if (!color.startsWith("rgb")) throw `no rgb: ${color}`;
  const [r, g, b, alpha = 1] = color.match(/[\d.]+/g).map(Number);
  return [r, g, b, alpha];
}

/** Relative luminance (WCAG 2.2). */
function luminance([r, g, b]) {
  const linear = (value) => (value <= 0.04045 * 255 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
}
