// How a picture will be, or was, drawn, in one sentence.

/** The method the server takes for what is erased now. */
export function plannedMethod(model, picture, what) {
  if (what === "sample" || picture.erasedCount === picture.pixels) return "sample";
  if (picture.erasedCount === 0) return "none";
  if (model.objective === "masked") return "masked";
  return picture.endsInHole ? "rows" : "particles";
}

export function methodSentence(method, { candidates, steps }) {
  switch (method) {
    case "none":
      return "Nothing is rubbed out yet: rub out a part of the picture, or keep fewer rows.";
    case "sample":
      return "From nothing: every pixel is drawn by the model.";
    case "rows":
      return "Exact: pixels are drawn in raster order, row by row, after those kept.";
    case "particles":
      return `Known pixels after the hole steer what is drawn: each completion is chosen among ${candidates} candidates `
        + "by a particle filter, and tends to the exact answer as candidates grow.";
    case "masked":
      return `Filled in over ${steps} steps, each looking at all known pixels (approximate).`;
    default:
      return "";
  }
}
