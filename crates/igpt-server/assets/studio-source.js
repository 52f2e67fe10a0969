// Where a picture comes from: a file that is dropped, pasted or chosen, or one of the model's examples.

import { element } from "./studio-controls.js";

/** Files beyond this are made smaller before they are sent: the model sees a few dozen pixels of them anyway. */
const LARGE_BYTES = 4 << 20;
const LARGE_SIDE = 1024;

/** Calls `take(file)` for every image file that is dropped on the page, pasted or chosen. */
export function watchFiles(take) {
  const first = (files) => {
    const file = [...files].find(({ type }) => type === "" || type.startsWith("image/")) ?? files[0];
    if (file) take(file);
  };
  element("file").addEventListener("change", ({ target }) => {
    first(target.files);
    target.value = "";
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) first(event.clipboardData.files);
  });
  const drag = (event, on) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    document.body.classList.toggle("dragging", on);
  };
  addEventListener("dragover", (event) => drag(event, true));
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) drag(event, false); });
  addEventListener("drop", (event) => {
    drag(event, false);
    first(event.dataTransfer.files);
  });
}

/** A button for each example, and one for an empty picture. */
export function showExamples(examples, takeExample, takeBlank) {
  const buttons = examples.map((example) => {
    const button = Object.assign(document.createElement("button"), { type: "button", title: example.name });
    button.append(Object.assign(new Image(), { src: `data:image/png;base64,${example.png}`, alt: `Example: ${example.name}` }));
    button.addEventListener("click", () => takeExample(example));
    return button;
  });
  const blank = Object.assign(document.createElement("button"), { type: "button", className: "blank", textContent: "Draw one" });
  blank.addEventListener("click", takeBlank);
  element("examples").replaceChildren(...buttons, blank);
}

/** The file as base64, made smaller if it is large and the browser can read it. */
export async function base64Of(file) {
  const small = file.size > LARGE_BYTES ? await reduced(file).catch(() => file) : file;
  const url = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(small);
  });
  return url.slice(url.indexOf(",") + 1);
}

async function reduced(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, LARGE_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale)));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/png" });
}
