/**
 * What one 224 x 224 x 3 picture costs from the bytes of a request body to a typed array, beside the plainest way to do the same. In process:
 * no server, no socket. Prints milliseconds, medians over interleaved rounds.
 *
 *     node payload.ts MILLISECONDS
 */
import type { Signature, TensorSpec } from '#mesh/signature.ts';
import type { Tensor } from '#mesh/tensor.ts';
import { decodeInputs, decodePredictRequest, encodePredictRequest } from '#proto/predict.ts';
import { decodePredict } from '../../services/gateway/rest/predict-json.ts';
import { decodeRawPredict } from '../../services/gateway/rest/raw-tensors.ts';
import { createRandom } from '../models/graph.ts';
import { median } from '../rounds.ts';

const SIDE = 224;
const FLOATS = SIDE * SIDE * 3;

const limitMs = Number(process.argv[2] ?? 1000);
const random = createRandom(224);
const pixels = Float32Array.from({ length: FLOATS }, () => Number(random().toFixed(8)));
const pixelBytes = new Uint8Array(pixels.buffer);

const pictures = signatureOf({ dtype: 'float', shape: [-1, SIDE, SIDE, 3], accepts: [-1, SIDE, SIDE, 3], tensorName: 'x:0' });
const strings = signatureOf({ dtype: 'string', shape: [-1], accepts: null, tensorName: 'x:0' });
const jsonBody = Buffer.from(`{"instances": [${JSON.stringify(nestedPicture())}]}`);
const base64Text = Buffer.from(Buffer.from(pixelBytes).toString('base64'));
const base64Body = Buffer.from(`{"instances": [{"b64": "${base64Text}"}]}`);
const rawHeader = JSON.stringify({ inputs: [{ name: 'x', dtype: 'DT_FLOAT', shape: [1, SIDE, SIDE, 3] }] });
const grpcBody = encodePredictRequest(
  { name: 'm', version: null, label: null, signatureName: '' },
  new Map([['x', { dtype: 'float', shape: [1, SIDE, SIDE, 3], bytes: pixelBytes } satisfies Tensor]]),
  { tensorContent: true },
);

/** Each way: what is measured, and what it must give. */
const ways: Record<string, () => unknown> = {
  jsonParse: () => JSON.parse(jsonBody.toString('utf8')),
  json: () => floatsOf(decodePredict(jsonBody, () => pictures).inputs.get('x')),
  base64Decode: () => Buffer.from(base64Text.toString('latin1'), 'base64'),
  base64: () => decodePredict(base64Body, () => strings).inputs.get('x'),
  copy: () => pixels.slice(),
  raw: () => copied(decodeRawPredict(rawHeader, pixelBytes).inputs.get('x')),
  grpc: () => copied(decodeInputs(decodePredictRequest(grpcBody).inputs).get('x')),
};
for (const name of ['json', 'raw', 'grpc']) check(name, ways[name]?.());

const names = Object.keys(ways);
const times = new Map(names.map((name) => [name, [] as number[]]));
const startedAt = performance.now();
for (let round = 0; round < 5 || performance.now() - startedAt < limitMs; round++) {
  for (const name of names) {
    // Enough repetitions that the clock's grain does not matter; the quick ones take tens of microseconds.
    const repetitions = name === 'json' || name === 'jsonParse' ? 1 : 10;
    const from = performance.now();
    for (let repetition = 0; repetition < repetitions; repetition++) ways[name]?.();
    times.get(name)?.push((performance.now() - from) / repetitions);
  }
}
process.stdout.write(`${JSON.stringify(Object.fromEntries([...times].map(([name, values]) => [name, median(values)])))}\n`);

function signatureOf(input: TensorSpec): Signature {
  return { method: 'tensorflow/serving/predict', inputs: { x: input }, outputs: { y: input }, batchable: true };
}

function nestedPicture(): unknown {
  const numbers = Array.from(pixels, (value) => Number(value.toFixed(8)));
  return Array.from({ length: SIDE }, (_, y) =>
    Array.from({ length: SIDE }, (__, x) => numbers.slice((y * SIDE + x) * 3, (y * SIDE + x + 1) * 3)),
  );
}

/** The tensor's bytes as floats, in memory of their own. */
function copied(tensor: Tensor | undefined): Float32Array {
  if (tensor === undefined) throw new Error('the decoder gave no tensor x');
  const floats = new Float32Array(tensor.bytes.byteLength / 4);
  new Uint8Array(floats.buffer).set(tensor.bytes);
  return floats;
}

/** The tensor's bytes as floats, where the JSON decoder put them. */
function floatsOf(tensor: Tensor | undefined): Float32Array {
  if (tensor === undefined) throw new Error('the decoder gave no tensor x');
  return new Float32Array(tensor.bytes.buffer, tensor.bytes.byteOffset, tensor.bytes.byteLength / 4);
}

function check(name: string, found: unknown): void {
  const right =
    found instanceof Float32Array &&
    found.length === FLOATS &&
    found.every((value, index) => Math.abs(value - (pixels[index] ?? 0)) < 1e-7);
  if (!right) throw new Error(`${name} does not give the picture back`);
}
