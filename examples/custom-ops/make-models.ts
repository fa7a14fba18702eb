/**
 * Writes the models of docs/custom-op.md, which use the op ZeroOut (the first element stays, all others become zero) that neither TensorFlow nor
 * ONNX has: node scripts/run.mjs examples/custom-ops/make-models.ts FOLDER
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildModel } from '#proto/onnx-writer.ts';
import { DATA_TYPE, encodeSavedModel } from './saved-model.ts';

/** The files, by their place in the folder. */
export function customOpModels(): ReadonlyMap<string, Uint8Array> {
  return new Map([
    ['zero_out/1/saved_model.pb', savedModel()],
    ['zero_out_onnx/1/model.onnx', onnxModel()],
  ]);
}

/** `output` = ZeroOut(`input`), int32 of shape [N, 2]. */
function savedModel(): Uint8Array {
  const type = DATA_TYPE.int32;
  const shape = [-1, 2];
  return encodeSavedModel({
    ops: [{ name: 'ZeroOut', inputs: [{ name: 'to_zero', type }], outputs: [{ name: 'zeroed', type }] }],
    nodes: [
      { name: 'input', op: 'Placeholder', inputs: [], attributes: { dtype: { type }, shape: { shape } } },
      { name: 'zeroed', op: 'ZeroOut', inputs: ['input'], attributes: {} },
    ],
    inputs: [{ alias: 'input', tensor: 'input:0', type, shape }],
    outputs: [{ alias: 'output', tensor: 'zeroed:0', type, shape }],
  });
}

/** `y` = ZeroOut(2 `x`) + 1, float of shape [N, 2]: ONNX's own operators before and after the op. */
function onnxModel(): Uint8Array {
  const scalar = (name: string, value: number) =>
    ({ name, dtype: 'float', shape: [], bytes: new Uint8Array(Float32Array.of(value).buffer) }) as const;
  return buildModel({
    name: 'zero_out',
    opset: 18,
    domains: { custom: 1 },
    inputs: [{ name: 'x', dtype: 'float', shape: ['n', 2] }],
    outputs: [{ name: 'y', dtype: 'float', shape: ['n', 2] }],
    initializers: [scalar('two', 2), scalar('one', 1)],
    nodes: [
      { op: 'Mul', name: 'double', inputs: ['x', 'two'], outputs: ['doubled'] },
      { op: 'ZeroOut', domain: 'custom', name: 'zero_out', inputs: ['doubled'], outputs: ['zeroed'] },
      { op: 'Add', name: 'plus_one', inputs: ['zeroed', 'one'], outputs: ['y'] },
    ],
  });
}

if (import.meta.main) {
  const [folder = '.'] = process.argv.slice(2);
  for (const [place, bytes] of customOpModels()) {
    const file = join(folder, place);
    mkdirSync(join(file, '..'), { recursive: true });
    writeFileSync(file, bytes);
  }
}
