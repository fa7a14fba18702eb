/**
 * Makes what a person tries first: request.png, a held-out image to look at, and request.json, the same image as a REST predict request.
 *
 *     node examples/digits/make-request.ts [INDEX among the held-out images]
 */
import { writeFileSync } from 'node:fs';
import { imageOf, readDigits } from './dataset.ts';
import { encodeGreyPng } from './png.ts';

const SCALE = 16;
const INK = 16;

const { heldOut } = readDigits();
const index = process.argv[2] === undefined ? heldOut.labels.indexOf(7) : Number(process.argv[2]);
if (!(index >= 0 && index < heldOut.count)) throw new RangeError(`INDEX must be 0 to ${heldOut.count - 1}, not ${process.argv[2]}`);
const image = imageOf(heldOut, index);

const side = 8 * SCALE;
const pixels = new Uint8Array(side * side);
for (let y = 0; y < side; y++) {
  for (let x = 0; x < side; x++) {
    const level = image[Math.floor(y / SCALE) * 8 + Math.floor(x / SCALE)] ?? 0;
    pixels[y * side + x] = 255 - Math.round((level * 255) / INK);
  }
}
writeFileSync(new URL('request.png', import.meta.url), encodeGreyPng(pixels, { width: side, height: side }));
writeFileSync(new URL('request.json', import.meta.url), `{"instances": [[${Array.from(image).join(', ')}]]}\n`);
console.log(`held-out image ${index}, a ${heldOut.labels[index]}: request.png, request.json`);
