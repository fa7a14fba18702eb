/** Builds an ONNX model out of a region of a flat graph. */
import type { OnnxModel } from '#proto/onnx-writer.ts';
import type { FlatNode, ValueRef } from '../flat-graph.ts';
import { functionsOf, translateCall } from '../ops/function-call.ts';
import { type FunctionOp, isFunctionOp, type LibraryOp } from '../ops/op-library.ts';
import { NO_PLANNED_OPS, type PlannedOps } from '../ops/planned-ops.ts';
import { blockLstmLoop } from './block-cells.ts';
import { translateCase, translateIf } from './branches.ts';
import { translateDilated } from './dilated-convolutions.ts';
import { GraphBuilder } from './graph-builder.ts';
import { translateLayer } from './layer-patterns.ts';
import type { Value } from './list-value.ts';
import { translateWhile } from './loops.ts';
import { prunedNodes } from './prune.ts';
import { type BoundConstants, Scope } from './scope.ts';
import { TENSOR_LISTS } from './tensor-lists.ts';
import type { TensorType, TypedValue } from './translator.ts';
import { TRANSLATORS } from './translators.ts';
import { naming, UntranslatableError } from './untranslatable.ts';

/** The version of ONNX's operators that translators emit. */
export const OPSET = 18;

/** A value that the region takes from outside: what it stands for in the graph, its name in the model, and what is known of it. */
export interface RegionFeed extends TensorType {
  readonly value: ValueRef;
  readonly name: string;
}

/** A value that the region gives, and its name in the model. */
export interface RegionFetch {
  readonly value: ValueRef;
  readonly name: string;
}

/** What to translate. */
export interface Region {
  /** In an order in which every node comes after its inputs. Nodes whose outputs are all fed or bound are skipped. */
  readonly nodes: readonly FlatNode[];
  readonly feeds: readonly RegionFeed[];
  readonly fetches: readonly RegionFetch[];
  /**
   * Nodes whose output 0 is a constant: variables by their resource handle or reference, and Const nodes whose tensor lies in a file. One that
   * is a reference becomes an external initializer of the model; up to 64 KiB it is loaded instead when it is used.
   */
  readonly constants?: BoundConstants;
  /** Custom ops: those that are functions become calls, and the model brings the functions. */
  readonly ops?: PlannedOps;
}

/** A translated region. Encode `model` with `buildModel`; its initializers share bytes with the graph's constants. */
export interface TranslatedRegion {
  readonly model: OnnxModel;
  /** The fetches with what is known of them, in order. */
  readonly outputs: readonly TypedValue[];
}

/** Translates a region. Throws UntranslatableError for an op that has no translator or a use of it that has none. */
export function translateGraph(region: Region): TranslatedRegion {
  const builder = new GraphBuilder();
  const { ops = NO_PLANNED_OPS } = region;
  const called = new Set<LibraryOp<FunctionOp>>();
  const scope = new Scope(builder, region.constants ?? new Map(), (node, inside) => {
    const op = ops.find(node.op);
    if (op === undefined || !isFunctionOp(op)) return dispatch(node, inside);
    called.add(op);
    return naming(node, () => translateCall(op, node, inside));
  });
  for (const fetch of region.fetches) builder.pool.freshName(fetch.name);
  const inputs = region.feeds.map(({ value, name, dtype, shape }) => ({
    value,
    type: { name: builder.pool.freshName(name), dtype, shape },
  }));
  for (const { value, type } of inputs) scope.put(value, type);
  scope.translate(region.nodes);
  const outputs = region.fetches.map((fetch) => ({ fetch, value: scope.tensor(fetch.value, fetch.value.node) }));
  for (const { fetch, value } of outputs) builder.nodes.push({ op: 'Identity', inputs: [value.name], outputs: [fetch.name] });
  const nodes = prunedNodes(
    builder.nodes,
    outputs.map(({ fetch }) => fetch.name),
  );
  return {
    model: {
      name: 'saved_model',
      opset: OPSET,
      inputs: inputs.map(({ type }) => type),
      outputs: outputs.map(({ fetch, value }) => ({ name: fetch.name, dtype: value.dtype, shape: null })),
      initializers: builder.pool.usedBy(nodes),
      nodes,
      ...(called.size === 0 ? {} : { functions: functionsOf(called, ops.library) }),
    },
    outputs: outputs.map(({ fetch, value }) => ({ ...value, name: fetch.name })),
  };
}

function dispatch(node: FlatNode, scope: Scope): readonly Value[] {
  const structured = node.bodies === undefined ? undefined : STRUCTURED[node.op];
  if (structured !== undefined) return naming(node, () => structured(node, scope));
  const lists = TENSOR_LISTS[node.op];
  if (lists !== undefined) {
    const inputs = node.inputs.map((ref) => scope.value(ref, node));
    return naming(node, () => lists(inputs, scope.builder.at(node, [])));
  }
  if (HANDS_ON.has(node.op)) return node.inputs.map((ref) => scope.value(ref, node));
  if (BLOCK_LAYERS.has(node.op)) return naming(node, () => translateBlockLstm(node, scope));
  const layer = naming(node, () => translateLayer(node, scope));
  if (layer !== null) return layer;
  const dilated = node.op === 'BatchToSpaceND' ? naming(node, () => translateDilated(node, scope)) : null;
  if (dilated !== null) return dilated;
  const translator = TRANSLATORS.get(node.op);
  if (translator === undefined) throw new UntranslatableError(node, 'the op has no translator');
  const inputs = node.inputs.map((ref) => scope.tensor(ref, node));
  return naming(node, () => translator(node, inputs, scope.builder.at(node, inputs)));
}

const STRUCTURED: Readonly<Record<string, (node: FlatNode, scope: Scope) => readonly Value[]>> = {
  While: translateWhile,
  StatelessWhile: translateWhile,
  If: translateIf,
  StatelessIf: translateIf,
  Case: translateCase,
  StatelessCase: translateCase,
};

function translateBlockLstm(node: FlatNode, scope: Scope): readonly Value[] {
  const loop = blockLstmLoop(node);
  if (loop === null) throw new UntranslatableError(node, 'it lacks inputs');
  const inner = scope.inner();
  inner.translate(loop.nodes);
  return loop.outputs.map((ref) => inner.value(ref, node));
}

const BLOCK_LAYERS: ReadonlySet<string> = new Set(['BlockLSTM', 'BlockLSTMV2']);

/** Ops that `translateGraph` takes, as far as names tell; and While, If and Case with bodies of such ops. */
export const TRANSLATED_OPS: ReadonlySet<string> = new Set([...TRANSLATORS.keys(), ...Object.keys(TENSOR_LISTS), ...BLOCK_LAYERS]);

/** Ops that hand on lists as well as tensors. */
const HANDS_ON: ReadonlySet<string> = new Set(['Identity', 'IdentityN']);
