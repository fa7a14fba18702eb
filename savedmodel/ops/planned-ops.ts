/** Custom ops as the planner of SavedModels asks for them. */
import { ServeError } from '#mesh/errors.ts';
import { DTYPES } from '#mesh/tensor.ts';
import type { FlatNode } from '../flat-graph.ts';
import { hostAttrsOf } from '../flatten/host-attrs.ts';
import type { ArgDef, AttrValue, DataTypeNumber, MetaGraph, PartialShape, StoredNode } from '../graph.ts';
import { isFunctionOp, isKernelOp, type LibraryOp, NO_OPS, type OpDefinition, type OpLibraryIndex, type OpOutput } from './op-library.ts';

/** Which ops the importer itself can place, by name. */
export interface OwnOps {
  has(op: string): boolean;
}

/** The ops of a library that a SavedModel may use: those that the importer does not have itself. */
export interface PlannedOps {
  /** The custom op of a node's op; undefined for one of the importer's own, or of nobody. */
  find(op: string): LibraryOp | undefined;
  /** Ops that become calls of ONNX functions. */
  readonly onnxOps: OwnOps;
  /** Ops that become host steps. */
  readonly hostOps: OwnOps;
  /** Every function that the functions of some ops need, their own included. */
  readonly library: OpLibraryIndex;
}

/** Ops that the importer resolves before it places any: inputs, constants, calls, control flow, variables and tables, and what restores them. */
const RESOLVED = new RegExp(
  [
    '^(_Arg|_Retval|Const|NoOp|Placeholder(V2|WithDefault)?',
    '(Stateful)?PartitionedCall|SymbolicGradient|(Stateless)?(If|While|Case)',
    '(Ref)?(Switch|Merge|Enter|Exit|NextIteration)|LoopCond',
    'VarHandleOp|Variable(V2)?|TemporaryVariable|AutoReloadVariable',
    '(Mutable)?(Dense)?HashTable(OfTensors)?(V2)?|AnonymousHashTable|InitializeTable(FromTextFile)?(V2)?',
    'LookupTable(Find|Insert|Import|Export|Size|Remove)(V2)?',
    'Restore(V2|Slice)?|Save(V2|Slices)?|MergeV2Checkpoints|ShardedFilename)$',
  ].join('|'),
);

/** The part of a library that counts beside what the importer has. */
export function planOps(library: OpLibraryIndex, isOwn: (op: string) => boolean): PlannedOps {
  const find = (op: string) => (isOwn(op) || RESOLVED.test(op) ? undefined : library.byName(op));
  const has = (is: (op: LibraryOp) => boolean) => ({
    has: (op: string) => {
      const found = find(op);
      return found !== undefined && is(found);
    },
  });
  return { find, onnxOps: has(isFunctionOp), hostOps: has(isKernelOp), library };
}

/** A plan without custom ops. */
export const NO_PLANNED_OPS: PlannedOps = planOps(NO_OPS, () => false);

/**
 * The definitions that a model carries, and those of custom ops that it does not: models of TensorFlow 2.0 to 2.3 carry none of ops that only functions use.
 * Throws ServeError INVALID_ARGUMENT when the model's own definition of a custom op has another number of outputs.
 */
export function definitionsWith(ops: PlannedOps, metaGraph: MetaGraph): MetaGraph['strippedOps'] {
  const definitions = new Map(metaGraph.strippedOps);
  for (const { definition, module } of ops.library.ops) {
    const { name, outputs } = definition;
    if (ops.find(name) === undefined) continue;
    const carried = definitions.get(name);
    if (carried === undefined) definitions.set(name, { inputs: [], outputs: argsOf(definition, metaGraph), defaults: new Map() });
    else if (!carried.outputs.some(isList) && carried.outputs.length !== outputs.length) {
      throw new ServeError(
        'INVALID_ARGUMENT',
        `${module.path}: op ${name} has ${outputs.length} outputs, in the model it has ${carried.outputs.length}`,
      );
    }
  }
  return definitions;
}

function isList({ numberAttr, typeListAttr }: ArgDef): boolean {
  return numberAttr !== undefined || typeListAttr !== undefined;
}

function argsOf({ name, outputs }: OpDefinition, metaGraph: MetaGraph): readonly ArgDef[] {
  // One output has whatever name functions call it by.
  const only = outputs.length === 1 ? outputNameUsed(name, metaGraph) : undefined;
  return outputs.map((output, index): ArgDef => {
    const argName = output.name ?? only ?? `output${index}`;
    if (typeof output.dtype === 'string') return { name: argName, dtype: DTYPES[output.dtype].number };
    return 'attribute' in output.dtype ? { name: argName, typeAttr: output.dtype.attribute } : { name: argName };
  });
}

/** The name in `node:NAME:0`, as some function uses it. */
function outputNameUsed(op: string, { functions }: MetaGraph): string | undefined {
  for (const { nodes, returns } of functions.values()) {
    const own = new Set(nodes.filter((node) => node.op === op).map((node) => node.name));
    if (own.size === 0) continue;
    const texts = [...nodes.flatMap((node: StoredNode) => node.inputs), ...returns.values()];
    for (const text of texts) {
      const [node = '', name] = text.split(':');
      if (own.has(node) && name !== undefined && !/^\d+$/.test(name)) return name;
    }
  }
  return undefined;
}

/** The dtypes of a custom node's outputs, 0 where unknown. `inputNumber`: those of its inputs. */
export function outputNumbers(
  outputs: readonly OpOutput[],
  attrs: ReadonlyMap<string, AttrValue>,
  inputNumber: (index: number) => DataTypeNumber,
): readonly DataTypeNumber[] {
  return outputs.map(({ dtype }) => {
    if (typeof dtype === 'string') return DTYPES[dtype].number;
    if ('like' in dtype) return inputNumber(dtype.like);
    const attr = attrs.get(dtype.attribute);
    return attr?.type === 'dtype' ? attr.value : 0;
  });
}

/** The shapes of a custom node's outputs, as its op says; all unknown when it does not. Throws INVALID_ARGUMENT naming file, op and node. */
export function outputShapes({ definition, module }: LibraryOp, node: FlatNode, inputs: readonly PartialShape[]): readonly PartialShape[] {
  const { shapes, name, outputs } = definition;
  if (shapes === undefined) return outputs.map(() => null);
  const fail = (why: string, cause?: unknown) =>
    new ServeError('INVALID_ARGUMENT', `${module.path}: "shapes" of op ${name} ${why} (for node ${node.name})`, { cause });
  let found: readonly PartialShape[];
  try {
    found = shapes(inputs, hostAttrsOf(node));
  } catch (caught) {
    throw fail(`failed: ${caught instanceof Error ? caught.message : String(caught)}`, caught);
  }
  const isShape = (shape: PartialShape) =>
    shape === null || (Array.isArray(shape) && shape.every((size) => Number.isSafeInteger(size) && size >= -1));
  if (!Array.isArray(found) || found.length !== outputs.length || !found.every(isShape)) {
    throw fail(`gave ${JSON.stringify(found)}, not ${outputs.length === 1 ? 'one shape' : `${outputs.length} shapes`} in a list`);
  }
  return found;
}
