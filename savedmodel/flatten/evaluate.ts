import { ServeError } from '#mesh/errors.ts';
import { elementCount } from '#mesh/tensor.ts';
import type { FlatNode } from '../flat-graph.ts';
import { ARRAY_OPS } from '../host/arrays.ts';
import { ELEMENTWISE_OPS } from '../host/elementwise.ts';
import { INDEXING_OPS } from '../host/indexing.ts';
import { REDUCTION_OPS } from '../host/reductions.ts';
import type { HostKernel, HostTensor } from '../host-value.ts';
import { hostAttrsOf } from './host-attrs.ts';

/** How many elements the result has at most, from the inputs; the sum of theirs where nothing is said. */
type Bound = (inputs: readonly HostTensor[]) => number;

const count = (tensor: HostTensor | undefined) => (tensor === undefined ? 0 : elementCount(tensor.shape));

const sum: Bound = (inputs) => inputs.reduce((total, tensor) => total + count(tensor), 0);

const broadcast: Bound = (inputs) => {
  const rank = Math.max(0, ...inputs.map(({ shape }) => shape.length));
  let total = 1;
  for (let axis = 1; axis <= rank; axis++) total *= Math.max(...inputs.map(({ shape }) => shape[shape.length - axis] ?? 1));
  return total;
};

const productOf = (tensor: HostTensor | undefined) => {
  let total = 1;
  for (const value of tensor?.data ?? []) total *= Number(value);
  return total;
};

const BOUNDS: Readonly<Record<string, Bound>> = {
  Fill: ([dims]) => productOf(dims),
  BroadcastTo: ([, dims]) => productOf(dims),
  Tile: ([data, multiples]) => count(data) * productOf(multiples),
  Range: ([start, limit, delta]) => {
    const [from, to, step] = [start, limit, delta].map((one) => Number(one?.data[0] ?? 0));
    return Math.abs(((to ?? 0) - (from ?? 0)) / (step || 1)) + 1;
  },
  GatherV2: ([params, indices]) => count(indices) * count(params),
  Gather: ([params, indices]) => count(indices) * count(params),
};

const BROADCASTING =
  'Add AddV2 Sub Mul Div RealDiv TruncateDiv FloorDiv FloorMod Mod TruncateMod DivNoNan Pow Maximum Minimum SquaredDifference BitwiseAnd BitwiseOr BitwiseXor Equal NotEqual Less LessEqual Greater GreaterEqual LogicalAnd LogicalOr SelectV2';

const SUMMING =
  'LogicalNot Neg Abs Sign Square Floor Ceil Round Rint Sqrt IsNan Cast AddN Identity StopGradient PreventGradient Snapshot EnsureShape Reshape ExpandDims Squeeze Shape ShapeN Size Rank ZerosLike OnesLike Pack Unpack ConcatV2 Concat Split SplitV Transpose ReverseV2 Select BroadcastArgs Slice StridedSlice Sum Prod Max Min All Any Mean ArgMax ArgMin Cumsum';

const ALL: Readonly<Record<string, HostKernel>> = { ...ARRAY_OPS, ...ELEMENTWISE_OPS, ...INDEXING_OPS, ...REDUCTION_OPS };

const FOLDABLE: ReadonlyMap<string, { readonly kernel: HostKernel; readonly bound: Bound }> = new Map(
  [
    ...BROADCASTING.split(' ').map((op) => [op, broadcast] as const),
    ...SUMMING.split(' ').map((op) => [op, sum] as const),
    ...Object.entries(BOUNDS),
  ].flatMap(([op, bound]) => {
    const kernel = ALL[op];
    return kernel === undefined ? [] : [[op, { kernel, bound }] as const];
  }),
);

/** The ops that constants are folded through. */
export const FOLDABLE_OPS: ReadonlySet<string> = new Set(FOLDABLE.keys());

/**
 * Computes a node from constant inputs. Undefined for an op that is not folded, for results and inputs beyond `maxElements`, and where the
 * op fails: then it fails when it is served, as in TensorFlow.
 */
export function evaluate(node: FlatNode, inputs: readonly HostTensor[], maxElements: number): readonly HostTensor[] | undefined {
  const known = FOLDABLE.get(node.op);
  if (known === undefined || !(sum(inputs) <= maxElements && known.bound(inputs) <= maxElements)) return undefined;
  try {
    return known.kernel(inputs, hostAttrsOf(node));
  } catch (caught) {
    if (caught instanceof ServeError && caught.code !== 'INTERNAL') return undefined;
    throw caught;
  }
}
