import { ServeError } from '#mesh/errors.ts';
import type { DType, Tensor } from '#mesh/tensor.ts';
import type { OnnxModel } from '#proto/onnx-writer.ts';
import type { FlatNode, ValueRef } from '../flat-graph.ts';
import type { PartialShape } from '../graph.ts';
import type { PlannedOps } from '../ops/planned-ops.ts';
import { type TranslatedRegion, translateGraph } from '../translate/translate-graph.ts';
import type { ConstantReference } from '../translate/translator.ts';
import { UntranslatableError } from '../translate/untranslatable.ts';
import type { DataFile } from './data-file.ts';
import { inside, type NodeFacts } from './node-facts.ts';
import type { SegmentValue } from './plan.ts';
import { type ResidentValue, SMALL_BYTES } from './resident-values.ts';
import type { SharedSegment } from './segment-requests.ts';
import type { ShapeHints } from './shape-hints.ts';
import { ValueMap } from './value-map.ts';

/** The file of a plan's folder that holds the large constants of its segments: ONNX external data. */
export const WEIGHTS_FILE = 'weights.bin';

/** A segment as an ONNX model. */
export interface TranslatedSegment {
  readonly model: OnnxModel;
  readonly inputs: readonly SegmentValue[];
  readonly outputs: readonly SegmentValue[];
  /** Names of the model's inputs and outputs. */
  readonly names: ValueMap<string>;
  /** The shapes that the model insists on, where it insists on any. */
  readonly accepts: ValueMap<readonly number[]>;
}

/** What segments are translated with. */
export interface SegmentContext {
  readonly facts: NodeFacts;
  readonly hints: ShapeHints;
  readonly weights: DataFile;
  /** The value of a constant or of a variable that never changes. */
  readonly residentValue: (node: FlatNode) => ResidentValue;
  readonly ops: PlannedOps;
}

/** How much of the likely shapes is promised to translators, and so asked of clients. */
type Promised = 'nothing' | 'ranks' | 'sizes';

/** Ops that take one rank only, or run much better when it is known. */
const RANKED = /^(While|If|Case|.*MatMul.*|.*Conv.*|Einsum|Resize.*|.*Pool.*|.*RNN.*|.*LSTM.*|.*GRU.*|FusedBatchNorm.*)$/;

/**
 * Translates a segment. Signatures' shapes are advisory in TensorFlow, so at first nothing is promised of what the segment is fed; ranks are
 * where ops need them, and sizes beyond the first where even ranks do not do. What becomes known of its outputs is added to the hints.
 * Throws UntranslatableError.
 */
export function translateSegment(segment: SharedSegment, context: SegmentContext): TranslatedSegment {
  const ranked = segment.nodes.some((node) => RANKED.test(node.op));
  const attempts: readonly Promised[] = ranked ? ['ranks', 'sizes', 'nothing'] : ['nothing', 'ranks', 'sizes'];
  const constants = boundConstants(segment.nodes, context);
  let failure: UntranslatableError | undefined;
  for (const promise of attempts) {
    try {
      return translated(segment, context, constants, promise);
    } catch (caught) {
      if (!(caught instanceof UntranslatableError)) throw caught;
      failure ??= caught;
      if (promise === 'sizes') failure = caught;
    }
  }
  throw failure ?? new ServeError('INTERNAL', 'a segment was not translated (this is a bug)');
}

type Bound = ReadonlyMap<FlatNode, Tensor | ConstantReference>;

function translated(segment: SharedSegment, context: SegmentContext, constants: Bound, promise: Promised): TranslatedSegment {
  const { hints } = context;
  const accepts = new ValueMap<readonly number[]>();
  const feeds = segment.feeds.map((value, index) => {
    const shape = promised(hints.shape(value), promise);
    if (shape !== null) accepts.set(value, shape);
    return { value, name: `in${index}:${value.node.name}`, dtype: dtypeOf(value, context), shape };
  });
  const fetches = segment.fetches.map((value, index) => ({ value, name: `out${index}:${value.node.name}` }));
  const region: TranslatedRegion = translateGraph({ nodes: segment.nodes, feeds, fetches, constants, ops: context.ops });
  const names = new ValueMap<string>();
  for (const [index, { value }] of feeds.entries()) names.set(value, region.model.inputs[index]?.name ?? '');
  for (const { value, name } of fetches) names.set(value, name);
  region.outputs.forEach(({ shape }, index) => {
    const fetch = segment.fetches[index];
    if (fetch !== undefined && shape !== null) hints.add(fetch, shape);
  });
  return {
    model: region.model,
    inputs: region.model.inputs.map(({ name, dtype }, index) => ({ name, dtype, shape: feeds[index]?.shape ?? null })),
    outputs: region.outputs.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
    names,
    accepts,
  };
}

/** A translated segment for one with the same fingerprint: feeds and fetches correspond by their places. */
export function sameSegment(translated: TranslatedSegment, segment: SharedSegment): TranslatedSegment {
  const names = new ValueMap<string>();
  const accepts = new ValueMap<readonly number[]>();
  for (const [index, ref] of segment.feeds.entries()) {
    const input = translated.inputs[index];
    names.set(ref, input?.name ?? '');
    if (input !== undefined && input.shape !== null) accepts.set(ref, input.shape);
  }
  for (const [index, ref] of segment.fetches.entries()) names.set(ref, translated.outputs[index]?.name ?? '');
  return { ...translated, names, accepts };
}

function promised(hint: PartialShape, promise: Promised): readonly number[] | null {
  if (hint === null || promise === 'nothing') return null;
  return hint.map((size, axis) => (promise === 'sizes' && axis > 0 ? size : -1));
}

function dtypeOf(ref: ValueRef, { facts }: SegmentContext): DType {
  const dtype = facts.dtypes.dtype(ref);
  if (dtype === null) throw new UntranslatableError(ref.node, `the dtype of its output ${ref.output} is not known`);
  return dtype;
}

/** The constants that some nodes and what is inside them use. Large ones go to the weights file, once for all segments. */
function boundConstants(nodes: readonly FlatNode[], context: SegmentContext): Bound {
  const bound = new Map<FlatNode, Tensor | ConstantReference>();
  const pending = [...nodes];
  const seen = new Set<FlatNode>();
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    const results = node.bodies?.flatMap((body) => body.results) ?? [];
    for (const ref of [...context.facts.usedBy(node), ...results]) {
      if (context.facts.isConstant(ref.node) && !bound.has(ref.node)) bound.set(ref.node, boundConstant(ref.node, context));
    }
    pending.push(...inside(node));
  }
  return bound;
}

function boundConstant(node: FlatNode, { residentValue, weights }: SegmentContext): Tensor | ConstantReference {
  const value = residentValue(node);
  const { dtype, shape, byteLength, tensor } = value;
  if (tensor !== undefined && (byteLength === null || byteLength <= SMALL_BYTES || dtype === 'string')) return tensor;
  const { offset, byteLength: length } = weights.at(weights.add(value.key, value));
  return {
    dtype,
    shape,
    external: { location: WEIGHTS_FILE, offset, byteLength: length },
    load() {
      if (tensor !== undefined) return tensor;
      throw new ServeError('INTERNAL', `${node.name} is too large to be looked at (this is a bug)`);
    },
  };
}

/** How many ONNX nodes a model has, bodies included, for people. */
export function countNodes(model: Pick<OnnxModel, 'nodes'>): number {
  let count = 0;
  for (const node of model.nodes) {
    count++;
    for (const attribute of Object.values(node.attributes ?? {})) {
      if (typeof attribute === 'object' && 'graph' in attribute) count += countNodes(attribute.graph);
    }
  }
  return count;
}
