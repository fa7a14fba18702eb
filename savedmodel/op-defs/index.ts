/** Definitions of TensorFlow's ops, as far as flattening needs them: defaults of attributes, and how outputs are numbered. */
import { ServeError } from '#mesh/errors.ts';
import type { ArgDef, AttrValue, MetaGraph } from '../graph.ts';
import { type OpDef, parseOpDef } from './parse-op-def.ts';
import { ARRAY_OPS } from './tables/array-ops.ts';
import { CONTROL_OPS } from './tables/control-ops.ts';
import { DATA_OPS } from './tables/data-ops.ts';
import { MATH_OPS } from './tables/math-ops.ts';
import { NN_OPS } from './tables/nn-ops.ts';
import { STATE_OPS } from './tables/state-ops.ts';
import { TEXT_OPS } from './tables/text-ops.ts';

export type { OpDef } from './parse-op-def.ts';

/** Finds definitions by op name. */
export interface OpDefs {
  /** The definition of an op, or undefined for one that neither TensorFlow's tables nor the model define. */
  find(op: string): OpDef | undefined;
  /** Names of all ops of TensorFlow's tables. */
  readonly names: ReadonlySet<string>;
}

const LINES: ReadonlyMap<string, string> = new Map(
  [ARRAY_OPS, MATH_OPS, NN_OPS, CONTROL_OPS, DATA_OPS, STATE_OPS, TEXT_OPS]
    .flatMap((table) => table.split('\n'))
    .filter((line) => line !== '')
    .map((line) => [line.slice(0, line.indexOf('|')), line]),
);

/** A lookup over TensorFlow's ops and, after them, those that the model carries itself. Definitions are parsed when first asked for. */
export function createOpDefs(carried: MetaGraph['strippedOps'] = new Map()): OpDefs {
  const parsed = new Map<string, OpDef | undefined>();
  return {
    names: new Set(LINES.keys()),
    find(op) {
      if (parsed.has(op)) return parsed.get(op);
      const line = LINES.get(op);
      const found = line === undefined ? carried.get(op) : parseOpDef(line);
      parsed.set(op, found);
      return found;
    },
  };
}

/** How many tensors an argument stands for, given the node's attributes. Throws ServeError INVALID_ARGUMENT when the attribute it needs is missing. */
export function argSize(arg: ArgDef, attrs: ReadonlyMap<string, AttrValue>, where: string): number {
  if (arg.typeListAttr !== undefined) {
    const list = attrs.get(arg.typeListAttr);
    if (list?.type === 'list') return list.values.length;
    throw new ServeError('INVALID_ARGUMENT', `${where} has no list attribute ${arg.typeListAttr}, which sizes its argument ${arg.name}`);
  }
  if (arg.numberAttr !== undefined) {
    const count = attrs.get(arg.numberAttr);
    if (count?.type === 'int' && count.value >= 0) return count.value;
    throw new ServeError('INVALID_ARGUMENT', `${where} has no count attribute ${arg.numberAttr}, which sizes its argument ${arg.name}`);
  }
  return 1;
}

/** The number of tensors of several arguments. Errors are those of {@link argSize}. */
export function argsSize(args: readonly ArgDef[], attrs: ReadonlyMap<string, AttrValue>, where: string): number {
  let size = 0;
  for (const arg of args) size += argSize(arg, attrs, where);
  return size;
}

/**
 * The flat index of element `index` of the argument `name`: the sizes of the arguments before it, plus `index`. Undefined when there is no
 * argument of that name. Errors are those of {@link argSize}.
 */
export function flatArgIndex(
  args: readonly ArgDef[],
  attrs: ReadonlyMap<string, AttrValue>,
  wanted: { readonly name: string; readonly index: number },
  where: string,
): number | undefined {
  let before = 0;
  for (const arg of args) {
    if (arg.name === wanted.name) return before + wanted.index;
    before += argSize(arg, attrs, where);
  }
  return undefined;
}
