/**
 * Convolutions with holes as older TensorFlow and Keras store them: SpaceToBatchND, a convolution, BatchToSpaceND. They are one convolution
 * with dilations when what is padded and cropped beyond the convolution's own padding is the same, whatever the size of the data.
 */

import type { FlatNode, ValueRef } from '../flat-graph.ts';
import type { AttrValue } from '../graph.ts';
import { intAttr, intsAttr, textAttr } from './attributes.ts';
import { constantNumbers, originOf } from './body-patterns.ts';
import { CONVOLUTION } from './convolution.ts';
import type { Scope } from './scope.ts';
import type { TypedValue } from './translator.ts';

/** Translates a BatchToSpaceND that ends such a convolution; null for any other. */
export function translateDilated(node: FlatNode, scope: Scope): readonly TypedValue[] | null {
  const found = matchDilated(node);
  if (found === null) return null;
  const { conv, data, blocks, pads, isFlat } = found;
  const [, filter] = conv.inputs;
  const translator = CONVOLUTION[conv.op];
  if (filter === undefined || translator === undefined) return null;
  const ints = (values: readonly number[]): AttrValue => ({ type: 'list', values: values.map((value) => ({ type: 'int', value })) });
  const attrs = new Map<string, AttrValue>([
    ...conv.attrs,
    ['dilations', ints([1, ...(isFlat ? [1] : []), ...blocks, 1])],
    ['padding', { type: 'string', value: new TextEncoder().encode('EXPLICIT') }],
    ['explicit_paddings', ints([0, 0, ...(isFlat ? [0, 0] : []), ...pads.flat(), 0, 0])],
  ]);
  const made = { ...conv, attrs };
  const value = scope.tensor(data, node);
  const context = scope.builder.at(made, []);
  const inputs = [isFlat ? context.unsqueeze(value, [1]) : value, scope.tensor(filter, node)];
  const [result] = translator(made, inputs, scope.builder.at(made, inputs));
  return result === undefined ? null : [isFlat ? context.squeeze(result, [1]) : result];
}

interface Dilated {
  readonly conv: FlatNode;
  readonly data: ValueRef;
  readonly blocks: readonly number[];
  /** Before and after each axis of space. */
  readonly pads: readonly (readonly [number, number])[];
  /** One axis of space, to which the convolution was given another of size 1. */
  readonly isFlat: boolean;
}

function matchDilated(node: FlatNode): Dilated | null {
  const [batched, block, crops] = node.inputs;
  const inner = batched === undefined ? undefined : originOf(batched).node;
  const isFlat = inner?.op === 'Squeeze';
  const conv = isFlat ? producer(inner, 0) : inner;
  if (conv === undefined || (conv.op !== 'Conv2D' && conv.op !== 'DepthwiseConv2dNative')) return null;
  const expanded = isFlat ? producer(conv, 0) : conv;
  if (expanded === undefined || (isFlat && !(expanded.op === 'ExpandDims' && isSecondAxis(expanded)))) return null;
  const spread = producer(expanded, 0);
  const [data, otherBlock, paddings] = spread?.inputs ?? [];
  if (spread?.op !== 'SpaceToBatchND' || !data || !block || !otherBlock || !crops || !paddings) return null;
  const [blocks, same] = [constantNumbers(block), constantNumbers(otherBlock)];
  if (blocks === null || `${blocks}` !== `${same}` || blocks.length !== (isFlat ? 1 : 2) || !isPlain(conv)) return null;
  const pads = blocks.map((_, axis) => [pad(paddings, crops, axis, 0), pad(paddings, crops, axis, 1)] as const);
  const known = pads.flatMap(([before, after]) => (before === null || after === null ? [] : [[before, after] as const]));
  return known.length === pads.length ? { conv, data, blocks, pads: known, isFlat } : null;
}

function producer(node: FlatNode | undefined, input: number): FlatNode | undefined {
  const ref = node?.inputs[input];
  return ref === undefined ? undefined : originOf(ref).node;
}

function isSecondAxis(expand: FlatNode): boolean {
  const [, axis] = expand.inputs;
  const [place] = (axis === undefined ? null : constantNumbers(axis)) ?? [];
  return place === 1 || place === -3;
}

function isPlain(conv: FlatNode): boolean {
  const steps = [...intsAttr(conv, 'strides'), ...intsAttr(conv, 'dilations')];
  return textAttr(conv, 'padding') === 'VALID' && textAttr(conv, 'data_format', 'NHWC') === 'NHWC' && steps.every((step) => step === 1);
}

/** What is left of a padding when the crop is taken off; null when that may depend on the size of the data. */
function pad(paddings: ValueRef, crops: ValueRef, axis: number, side: 0 | 1): number | null {
  const [padded, cropped] = [entry(paddings, axis, side), entry(crops, axis, side)];
  if (padded === null || cropped === null || padded.unknown !== cropped.unknown) return null;
  const left = padded.known - cropped.known;
  return left >= 0 ? left : null;
}

/** A number that is known but for an addend, which is told from others by its name. */
interface PartlyKnown {
  readonly known: number;
  readonly unknown: string;
}

/** An entry of a matrix [axes, 2]. */
function entry(matrix: ValueRef, row: number, column: number): PartlyKnown | null {
  const { node } = originOf(matrix);
  const numbers = constantNumbers(matrix);
  const [whole, begin] = node.inputs;
  if (numbers !== null) return { known: numbers[2 * row + column] ?? 0, unknown: '' };
  if (node.op === 'StridedSlice' && whole !== undefined && begin !== undefined) {
    const isRange = ['shrink_axis_mask', 'new_axis_mask', 'ellipsis_mask'].every((name) => intAttr(node, name, 0) === 0);
    return isRange && constantNumbers(begin)?.[0] === 0 && node.inputs.slice(3).every(isOnes) ? entry(whole, row, column) : null;
  }
  const line = node.op === 'Pack' ? node.inputs[row] : undefined;
  return line === undefined ? null : element(line, column);
}

const isOnes = (ref: ValueRef) => constantNumbers(ref)?.every((number) => number === 1) === true;

/** An element of a vector, or a scalar. */
function element(vector: ValueRef, index: number): PartlyKnown {
  const { node, output } = originOf(vector);
  const opaque = { known: 0, unknown: `${node.name}:${output}[${index}]` };
  const numbers = constantNumbers(vector);
  const [first, second] = node.inputs;
  if (numbers !== null) return { known: numbers[numbers.length === 1 ? 0 : index] ?? 0, unknown: '' };
  if (node.op === 'Pack' && intAttr(node, 'axis', 0) === 0) {
    const part = node.inputs[index];
    return part === undefined ? opaque : element(part, 0);
  }
  if (first === undefined || second === undefined) return opaque;
  if (node.op === 'StridedSlice') {
    const [at] = constantNumbers(second) ?? [];
    return intAttr(node, 'shrink_axis_mask', 0) === 1 && at !== undefined && at >= 0 ? element(first, at) : opaque;
  }
  if (node.op !== 'AddV2' && node.op !== 'Add') return opaque;
  const [left, right] = [element(first, index), element(second, index)];
  if (left.unknown !== '' && right.unknown !== '') return opaque;
  return { known: left.known + right.known, unknown: left.unknown + right.unknown };
}
