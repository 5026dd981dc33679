/* Classifies a picture with the model outside a browser:
 *
 *     node classify.mjs build/digits/libdigits.wasm ../c_api/seven.pgm */
import {readFileSync} from "node:fs";

import {Model} from "./model.mjs";

const [, , library, picture] = process.argv;
if (!picture) {
  console.error("usage: node classify.mjs LIBRARY.wasm PICTURE.pgm");
  process.exit(2);
}
try {
  const model = await Model.load(readFileSync(library));
  const [format, width, height, top, ...pixels] = readFileSync(picture, "utf8").trim().split(/\s+/);
  if (format !== "P2" || pixels.length !== width * height) throw new Error(`${picture}: not a text PGM`);
  for (const {name, shape} of model.inputs) console.log(`input ${name}: ${shape.join(" ")}`);
  const {logits} = model.run({image: Float32Array.from(pixels, (grey) => grey / top)});
  logits.forEach((score, digit) => console.log(`${digit}: ${score.toFixed(4).padStart(8)}`));
  console.log(`digit: ${logits.indexOf(Math.max(...logits))}`);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
