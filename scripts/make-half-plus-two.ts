/**
 * Writes examples/models/half_plus_two/1: y = x / 2 + 2 for a tensor of any rank, the "hello world" of TensorFlow Serving. It has no
 * signatures.json: the signature comes from the graph.
 *
 *     node scripts/make-half-plus-two.ts
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { buildModel } from '#proto/onnx-writer.ts';

const scalar = (name: string, value: number) =>
  ({ name, dtype: 'float', shape: [], bytes: new Uint8Array(Float32Array.of(value).buffer) }) as const;

const model = buildModel({
  name: 'half_plus_two',
  opset: 17,
  inputs: [{ name: 'x', dtype: 'float', shape: null }],
  outputs: [{ name: 'y', dtype: 'float', shape: null }],
  initializers: [scalar('half', 0.5), scalar('two', 2)],
  nodes: [
    { op: 'Mul', inputs: ['x', 'half'], outputs: ['halved'] },
    { op: 'Add', inputs: ['halved', 'two'], outputs: ['y'] },
  ],
});
const folder = fileURLToPath(new URL('../examples/models/half_plus_two/1/', import.meta.url));
mkdirSync(folder, { recursive: true });
writeFileSync(`${folder}model.onnx`, model);
