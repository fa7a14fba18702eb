import type { FlatNode, ValueRef } from '../flat-graph.ts';
import type { AttrValue, PartialShape } from '../graph.ts';
import { NO_PLANNED_OPS, outputShapes, type PlannedOps } from '../ops/planned-ops.ts';
import { ValueMap } from './value-map.ts';

/** What is likely the shape of a value, for values that ONNX is fed: only their rank may be relied upon, and clients may disregard even that. */
export interface ShapeHints {
  /** Null when nothing is known. */
  shape(ref: ValueRef): PartialShape;
  /** Adds what became known: the type of a segment's output, a signature's shape. The first to come counts, but ranks that differ cancel out. */
  add(ref: ValueRef, shape: PartialShape): void;
}

/** Ops whose output has the shape of an input. */
const LIKE_INPUT: ReadonlyMap<string, number> = new Map([
  ['LookupTableFind', 1],
  ['LookupTableFindV2', 1],
  ...[
    'Identity',
    'Cast',
    'StringToHashBucketFast',
    'StringToHashBucketStrong',
    'StringToHashBucket',
    'StringToNumber',
    'StringLower',
    'StringUpper',
    'StringStrip',
    'StringLength',
    'StaticRegexReplace',
    'RegexReplace',
    'StaticRegexFullMatch',
    'RegexFullMatch',
    'AsString',
    'Substr',
    'DecodeBase64',
    'EncodeBase64',
    'Bucketize',
    'BoostedTreesBucketize',
    'ZerosLike',
    'OnesLike',
  ].map((op) => [op, 0] as const),
]);

/** Ranks of outputs that an op always has: by op, one for each output, the last for all that follow. */
const RANKS: ReadonlyMap<string, readonly number[]> = new Map([
  ['DecodeJpeg', [3]],
  ['DecodeAndCropJpeg', [3]],
  ['DecodePng', [3]],
  ['DecodeBmp', [3]],
  ['ResizeBilinear', [4]],
  ['ResizeNearestNeighbor', [4]],
  ['ResizeBicubic', [4]],
  ['ResizeArea', [4]],
  ['CropAndResize', [4]],
  ['Where', [2]],
  ['NonMaxSuppressionV3', [1]],
  ['Unique', [1]],
  ['UniqueV2', [1]],
  ['Range', [1]],
  ['Shape', [1]],
  ['Size', [0]],
  ['Rank', [0]],
  ['LookupTableSizeV2', [0]],
  ['TensorListLength', [0]],
  ['StringSplit', [2, 1, 1]],
  ['StringSplitV2', [2, 1, 1]],
  ['SparseFillEmptyRows', [2, 1, 1, 1]],
  ['SparseReshape', [2, 1]],
  ['SparseSlice', [2, 1, 1]],
  ['SparseConcat', [2, 1, 1]],
  ['SparseCross', [2, 1, 1]],
  ['SparseReorder', [2, 1]],
  ['DenseBincount', [1]],
]);

/** Ops with an attribute that says the shape of their outputs, or of what is added to the shape of a list. */
const SHAPE_ATTRS: ReadonlyMap<string, string> = new Map([
  ['Placeholder', 'shape'],
  ['PlaceholderWithDefault', 'shape'],
  ['EnsureShape', 'shape'],
  ['TensorListGetItem', 'element_shape'],
]);

/** Hints from attributes and ops, custom ones too. `initialValues`: what a loop's parameters start with. */
export function createShapeHints(initialValues: ReadonlyMap<FlatNode, ValueRef>, ops: PlannedOps = NO_PLANNED_OPS): ShapeHints {
  const added = new ValueMap<{ readonly shape: PartialShape }>();
  const customShapes = new Map<FlatNode, readonly PartialShape[]>();

  function custom({ node, output }: ValueRef): { readonly shape: PartialShape } | undefined {
    const op = ops.find(node.op);
    if (op === undefined || op.definition.shapes === undefined) return undefined;
    const known = customShapes.get(node);
    if (known !== undefined) return { shape: known[output] ?? null };
    customShapes.set(node, []); // One that depends on itself stays unknown.
    customShapes.set(node, outputShapes(op, node, node.inputs.map(shape)));
    return custom({ node, output });
  }

  function shape(ref: ValueRef): PartialShape {
    const seen = new Set<FlatNode>();
    let at = ref;
    for (;;) {
      const found = added.get(at) ?? custom(at) ?? own(at);
      if (found !== undefined) return found.shape;
      seen.add(at.node);
      const next = at.node.inputs[LIKE_INPUT.get(at.node.op) ?? Number.NaN] ?? initialValues.get(at.node);
      if (next === undefined || seen.has(next.node)) return null;
      // What a loop starts with may grow.
      at = next;
    }
  }

  return {
    shape: (ref) => shape(ref),
    add(ref, shape) {
      const before = added.get(ref);
      if (before === undefined) added.set(ref, { shape });
      else if (before.shape?.length !== shape?.length) added.set(ref, { shape: null });
      else if (before.shape !== null) added.set(ref, { shape: before.shape.map((size, axis) => (size === shape?.[axis] ? size : -1)) });
    },
  };
}

function own({ node, output }: ValueRef): { readonly shape: PartialShape } | undefined {
  const listed = node.attrs.get('_output_shapes');
  const one = listed?.type === 'list' ? listed.values[output] : undefined;
  if (one?.type === 'shape' && one.value !== null) return { shape: one.value };
  const attr = SHAPE_ATTRS.get(node.op);
  const declared = attr === undefined ? undefined : node.attrs.get(attr);
  if (declared?.type === 'shape' && declared.value !== null) return { shape: declared.value };
  const ranks = RANKS.get(node.op);
  const rank = ranks?.[output] ?? ranks?.at(-1);
  if (rank !== undefined) return { shape: new Array<number>(rank).fill(-1) };
  return parsedShape(node, output);
}

/** ParseExample: sparse indices, values and shapes, then dense values with a row for each example. */
function parsedShape(node: FlatNode, output: number): { readonly shape: PartialShape } | undefined {
  if (!/^Parse(Single)?Example(V2)?$/.test(node.op)) return undefined;
  const sparse = countOf(node.attrs.get('num_sparse') ?? node.attrs.get('Nsparse')) ?? listOf(node.attrs.get('sparse_types')).length;
  if (output < sparse) return { shape: [-1, -1] };
  if (output < 3 * sparse) return { shape: [-1] };
  const shape = listOf(node.attrs.get('dense_shapes'))[output - 3 * sparse];
  if (shape?.type !== 'shape' || shape.value === null) return undefined;
  return { shape: node.op.startsWith('ParseSingle') ? shape.value : [-1, ...shape.value] };
}

function countOf(attr: AttrValue | undefined): number | undefined {
  return attr?.type === 'int' ? attr.value : undefined;
}

function listOf(attr: AttrValue | undefined): readonly AttrValue[] {
  return attr?.type === 'list' ? attr.values : [];
}
