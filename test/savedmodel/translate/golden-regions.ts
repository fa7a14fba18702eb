/** Op goldens as regions of one node, built two ways: with every size known, and with only the ranks known. */

import { DTYPES, type Tensor } from '#mesh/tensor.ts';
import { buildModel } from '#proto/onnx-writer.ts';
import type { FlatNode } from '../../../savedmodel/flat-graph.ts';
import { translateGraph } from '../../../savedmodel/translate/translate-graph.ts';
import type { TypedValue } from '../../../savedmodel/translate/translator.ts';
import type { OpCase } from '../goldens/goldens.ts';

/** How much the translation is told of the shapes of what is fed. */
export type ShapeKnowledge = 'sizes' | 'ranks';

/** A translated case. */
export interface GoldenModel {
  readonly model: Uint8Array;
  readonly outputs: readonly TypedValue[];
  /** Feeds of run `index` by input name. */
  feeds(index: number): Record<string, Tensor>;
}

/** Whether every tensor of the case is one that ONNX models here take. */
export function isNumeric(one: OpCase): boolean {
  const tensors = one.feeds.flatMap((feed) => [...feed.inputs, ...(feed.answer.type === 'outputs' ? feed.answer.outputs : [])]);
  return tensors.every(({ dtype }) => dtype !== 'string' && dtype !== 'bfloat16' && !dtype.startsWith('complex'));
}

/** Translates a case. Throws what the translator throws. */
export function buildGolden(one: OpCase, knowledge: ShapeKnowledge): GoldenModel {
  const sources = one.inputs.map((_, index): FlatNode => emptyNode(`input${index}`));
  const answered = one.feeds.find((feed) => feed.answer.type === 'outputs')?.answer;
  const outputCount = answered?.type === 'outputs' ? answered.outputs.length : 1;
  const inputs = sources.map((node) => ({ node, output: 0 }));
  const node: FlatNode = { ...emptyNode(one.op.toLowerCase()), op: one.op, inputs, attrs: one.attrs, outputCount };
  const [first] = one.feeds;
  const given = (index: number) => first?.inputs[index] ?? { dtype: 'float' as const, shape: [], bytes: new Uint8Array() };
  const fed = sources.flatMap((source, index) => (one.inputs[index]?.constant ? [] : [{ source, index }]));
  const { model, outputs } = translateGraph({
    nodes: [node],
    feeds: fed.map(({ source, index }) => {
      const shape = knowledge === 'sizes' ? given(index).shape : commonRank(one.feeds.map((feed) => feed.inputs[index]?.shape ?? []));
      return { value: { node: source, output: 0 }, name: source.name, dtype: given(index).dtype, shape };
    }),
    fetches: Array.from({ length: outputCount }, (_, output) => ({ value: { node, output }, name: `output${output}` })),
    constants: new Map(sources.flatMap((source, index) => (one.inputs[index]?.constant ? [[source, given(index)] as const] : []))),
  });
  return {
    model: buildModel(model),
    outputs,
    feeds: (run) => Object.fromEntries(fed.map(({ source, index }) => [source.name, one.feeds[run]?.inputs[index] ?? given(index)])),
  };
}

/** Unknown sizes in the rank that all shapes share, or an unknown rank. */
function commonRank(shapes: readonly (readonly number[])[]): readonly number[] | null {
  const [first = []] = shapes;
  return shapes.every((shape) => shape.length === first.length) ? first.map(() => -1) : null;
}

function emptyNode(name: string): FlatNode {
  return { name, op: 'Placeholder', inputs: [], controls: [], attrs: new Map(), outputCount: 1 };
}

/** Why a tensor is not what was expected, or null when it is: to `tolerance`, relative and absolute; NaN equals NaN. */
export function difference(found: Tensor | undefined, expected: Tensor, tolerance: number): string | null {
  if (found === undefined) return 'is missing';
  if (found.dtype !== expected.dtype || `${found.shape}` !== `${expected.shape}`) {
    return `is ${found.dtype} [${found.shape}], expected ${expected.dtype} [${expected.shape}]`;
  }
  const [a, b] = [elements(found), elements(expected)];
  const at = b.findIndex((value, index) => !isClose(a[index] ?? Number.NaN, value, tolerance));
  return at < 0 ? null : `[${at}] is ${a[at]}, expected ${b[at]}`;
}

function isClose(found: number | bigint, expected: number | bigint, tolerance: number): boolean {
  if (Object.is(found, expected) || found === expected) return true;
  if (typeof found === 'bigint' || typeof expected === 'bigint') return false;
  return Math.abs(found - expected) <= tolerance * Math.max(1, Math.abs(expected));
}

function elements({ dtype, bytes }: Tensor): readonly (number | bigint)[] {
  const buffer = bytes.slice().buffer;
  const count = bytes.byteLength / DTYPES[dtype].byteSize;
  switch (dtype) {
    case 'float':
      return [...new Float32Array(buffer)];
    case 'double':
      return [...new Float64Array(buffer)];
    case 'half':
      return [...new Uint16Array(buffer)].map(halfValue);
    case 'int64':
      return [...new BigInt64Array(buffer)];
    case 'uint64':
      return [...new BigUint64Array(buffer)];
    case 'int32':
      return [...new Int32Array(buffer)];
    case 'uint32':
      return [...new Uint32Array(buffer)];
    case 'int16':
      return [...new Int16Array(buffer)];
    case 'uint16':
      return [...new Uint16Array(buffer)];
    case 'int8':
      return [...new Int8Array(buffer)];
    default:
      return [...new Uint8Array(buffer)].slice(0, count);
  }
}

function halfValue(bits: number): number {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
