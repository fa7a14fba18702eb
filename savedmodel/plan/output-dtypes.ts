import { type DType, dtypeFromNumber } from '#mesh/tensor.ts';
import type { FlatNode, ValueRef } from '../flat-graph.ts';
import type { ArgDef, AttrValue, DataTypeNumber, MetaGraph } from '../graph.ts';
import { createOpDefs } from '../op-defs/index.ts';
import { NO_PLANNED_OPS, outputNumbers, type PlannedOps } from '../ops/planned-ops.ts';

/** What TensorLists are: a number of `tensorflow.DataType` that no tensor of a client has. */
export const VARIANT = 21;
/** Added to a dtype for a reference to a variable of it, in TF1 graphs. */
const REFERENCE = 100;

/** The dtypes of values, as far as ops and attributes tell. */
export interface ValueDtypes {
  /** As a `tensorflow.DataType` number, that of a reference being what it refers to; 0 when unknown. */
  number(ref: ValueRef): DataTypeNumber;
  /** Null for resources, variants and what is unknown. */
  dtype(ref: ValueRef): DType | null;
}

/** Dtypes from op definitions, of TensorFlow, of custom ops and of the model. `parameters` gives those of `_Arg` nodes. */
export function createValueDtypes(
  carried: MetaGraph['strippedOps'],
  parameters: ReadonlyMap<FlatNode, ValueRef>,
  ops: PlannedOps = NO_PLANNED_OPS,
): ValueDtypes {
  const opDefs = createOpDefs(carried);
  const known = new Map<FlatNode, readonly DataTypeNumber[]>();

  function outputsOf(node: FlatNode): readonly DataTypeNumber[] {
    const found = known.get(node);
    if (found !== undefined) return found;
    known.set(node, []); // A value that depends on itself stays unknown.
    const made = computed(node);
    known.set(node, made);
    return made;
  }

  function computed(node: FlatNode): readonly DataTypeNumber[] {
    const initial = parameters.get(node);
    if (initial !== undefined) return [number(initial)];
    const [first, second] = node.bodies ?? [];
    if (node.op === 'While') return node.inputs.map(number);
    if (first !== undefined && (node.op === 'If' || node.op === 'Case')) {
      return first.results.map((ref, index) => number(ref) || number(second?.results[index] ?? ref));
    }
    const custom = ops.find(node.op);
    if (custom !== undefined) {
      return outputNumbers(custom.definition.outputs, node.attrs, (index) => {
        const input = node.inputs[index];
        return input === undefined ? 0 : number(input);
      });
    }
    const declared = opDefs.find(node.op)?.outputs.flatMap((arg) => dtypesOf(arg, node.attrs));
    if (declared === undefined) return [];
    // The inliner leaves an Identity without attribute where a call returns lists.
    const [input] = node.inputs;
    return declared.map((one) => (one === 0 && node.op === 'Identity' && input !== undefined ? number(input) : one));
  }

  function number({ node, output }: ValueRef): DataTypeNumber {
    const found = outputsOf(node)[output] ?? 0;
    return found > REFERENCE ? found - REFERENCE : found;
  }

  return { number, dtype: (ref) => dtypeFromNumber(number(ref)) ?? null };
}

function dtypesOf(arg: ArgDef, attrs: ReadonlyMap<string, AttrValue>): readonly DataTypeNumber[] {
  if (arg.typeListAttr !== undefined) {
    const list = attrs.get(arg.typeListAttr);
    return list?.type === 'list' ? list.values.map((one) => (one.type === 'dtype' ? one.value : 0)) : [];
  }
  const attr = arg.typeAttr === undefined ? undefined : attrs.get(arg.typeAttr);
  const one = arg.dtype ?? (attr?.type === 'dtype' ? attr.value : 0);
  const count = arg.numberAttr === undefined ? undefined : attrs.get(arg.numberAttr);
  return new Array<DataTypeNumber>(count?.type === 'int' ? count.value : 1).fill(one);
}
