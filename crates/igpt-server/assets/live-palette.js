// The palette as swatches; pointing at one, or moving to it with the arrow keys, tells its token and colour.

const palette = document.getElementById("palette");
const swatch = document.getElementById("swatch");

let colors = [];
let chosen = -1;

/** Shows `found`, a list of "#rrggbb"; does nothing when it is what is shown already. */
export function showPalette(found) {
  if (found.join() === colors.join()) return;
  [colors, chosen] = [found, -1];
  document.getElementById("palette-section").hidden = colors.length === 0;
  document.getElementById("palette-size").textContent = `${colors.length} colours`;
  palette.replaceChildren(...colors.map(option));
}

function option(color, token) {
  const node = document.createElement("i");
  node.id = `token-${token}`;
  node.setAttribute("role", "option");
  node.setAttribute("aria-label", `Token ${token}, ${color}`);
  node.title = `token ${token} · ${color}`;
  node.style.background = color;
  return node;
}

function choose(token) {
  palette.children[chosen]?.setAttribute("aria-selected", "false");
  chosen = token;
  palette.children[token].setAttribute("aria-selected", "true");
  palette.setAttribute("aria-activedescendant", `token-${token}`);
  swatch.textContent = `Token ${token} · ${colors[token]}`;
}

/** Swatches in a row of the grid as it is laid out now. */
function columns() {
  return getComputedStyle(palette).gridTemplateColumns.split(" ").length;
}

function move(event) {
  const by = {
    ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns(), Home: -colors.length, End: colors.length,
  }[event.key];
  if (by === undefined || colors.length === 0) return;
  event.preventDefault();
  const to = chosen < 0 ? 0 : chosen + by;
  const within = Math.max(0, Math.min(colors.length - 1, to));
  if (Math.abs(by) !== columns() || to === within) choose(within);
}

palette.addEventListener("keydown", move);
palette.addEventListener("pointerover", ({ target }) => {
  if (target.parentElement === palette) choose([...palette.children].indexOf(target));
});
