/** ONNX models, and what lies beside them. */
import { readOnnxHeader } from '#proto/onnx-header.ts';
import { readOnnxParts } from '#proto/onnx-parts.ts';
import { onnxTensorType, readOnnxTensor } from '#proto/onnx-tensor.ts';
import { guardRequests } from '../../../../services/worker-gpu/runtimes/request-guards.ts';
import { parseSignaturesFile } from '../../../../services/worker-gpu/runtimes/signatures-file.ts';
import { affine, model } from '../../../worker-gpu/models.ts';
import { agree, type FuzzTarget, orRefused } from '../target.ts';

const WORDS = ['Div', 'Mod', 'LSTM', 'Einsum', 'If', 'Loop', 'TopK', 'Unique', 'Constant', 'Shape', 'value', 'then_branch', 'x', 'y', ''];

function seeds(): Uint8Array[] {
  const [x, y] = ['x', 'y'].map((name) => ({ name, dtype: 'int32' as const, shape: ['N', 2] }));
  if (x === undefined || y === undefined) return [];
  const nodes = [
    { op: 'Div', inputs: ['x', 'c'], outputs: ['d'], attributes: { axis: 1, alpha: { float: 0.5 }, perm: [1, 0] } },
    { op: 'Identity', inputs: ['d'], outputs: ['y'] },
  ];
  const initializers = [{ name: 'c', dtype: 'int32' as const, shape: [1], bytes: new Uint8Array(Int32Array.of(-1).buffer) }];
  return [affine(0.5, 2), model({ inputs: [x], outputs: [y], nodes, initializers })];
}

/** Both readers of whole models take the same ones and find the same ports. */
function onnx(bytes: Uint8Array): void {
  const header = orRefused(() => readOnnxHeader(bytes));
  const parts = orRefused(() => readOnnxParts(bytes));
  if (header !== undefined && parts !== undefined) agree('the number of outputs', header.outputs.length, parts.graph.outputs.length);
  orRefused(() => onnxTensorType(bytes));
  orRefused(() => readOnnxTensor(bytes));
  for (const { tensor } of parts?.graph.initializers.values() ?? []) if (tensor !== null) orRefused(() => readOnnxTensor(tensor));
}

/** A guarded model still reads as a model, with the same ports. */
function guards(bytes: Uint8Array): void {
  const guarded = orRefused(() => guardRequests(bytes));
  if (guarded === undefined) return;
  if (guarded.guarded === 0) agree('a model without anything to guard', Buffer.compare(guarded.model, bytes), 0);
  const before = orRefused(() => readOnnxHeader(bytes));
  if (before === undefined) return;
  const after = readOnnxHeader(guarded.model);
  agree('ports', [after.inputs, after.outputs], [before.inputs, before.outputs]);
}

const SIGNATURES = JSON.stringify({
  stateful: false,
  signatures: {
    serving_default: {
      method: 'predict',
      model: 'model.onnx',
      batchable: true,
      inputs: {
        x: { dtype: 'DT_FLOAT', shape: [-1, 1], onnx: 'x' },
        e: { dtype: 'DT_STRING', shape: [-1], parse_example: { f: { dtype: 'DT_FLOAT', shape: [1], default: [0] } } },
      },
      outputs: { y: { dtype: 'DT_FLOAT', shape: null, onnx: 'y' } },
    },
  },
});

/** Targets of this file. */
export const TARGETS: readonly FuzzTarget[] = [
  { name: 'onnx', format: 'protobuf', covers: ['proto/onnx-'], words: WORDS, seeds, check: onnx },
  { name: 'onnx-guards', format: 'protobuf', covers: ['services/worker-gpu/runtimes/'], words: WORDS, seeds, check: guards },
  {
    name: 'signatures-file',
    format: 'text',
    covers: ['services/worker-gpu/runtimes/signatures-file.ts'],
    words: [
      'null',
      'true',
      '{}',
      '[]',
      '[-2]',
      '1e300',
      '"__proto__"',
      '"DT_INT64"',
      '"DT_STRING"',
      '"default":',
      '"host":',
      '../',
      '"regress"',
    ],
    seeds: () => [Buffer.from(SIGNATURES)],
    check: (bytes) => void orRefused(() => parseSignaturesFile(Buffer.from(bytes).toString('utf8'), 'signatures.json', 'model.onnx')),
  },
];
