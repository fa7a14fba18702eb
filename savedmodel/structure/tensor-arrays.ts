/** TF1's TensorArrays as TensorLists: the flow, a float that only orders reads and writes, becomes the list itself. */
import type { Body, FlatNode, ValueRef } from '../flat-graph.ts';
import { originOf, tensorOfHost } from '../flatten/index.ts';
import type { AttrValue, DataTypeNumber, PartialShape } from '../graph.ts';
import type { HostTensor } from '../host-value.ts';
import { type Replacement, Rewriter } from './rewriter.ts';
import type { UniqueNames } from './unique-names.ts';

const INT32 = 3;
const INT64 = 9;
const VARIANT = 21;
const VARIANT_TYPE: AttrValue = { type: 'dtype', value: VARIANT };

/** Ops of TensorArrays: refused where this pass leaves one. */
export const TENSOR_ARRAY_OPS = /^TensorArray/;

/** What is known of an array. */
interface ArrayFacts {
  readonly node: FlatNode;
  readonly dtype: DataTypeNumber;
  readonly shape: PartialShape;
  readonly grows: boolean;
}

/**
 * Rewrites a graph with bodies. Needs handles that lead to their TensorArrayV3 node and flows that come from it, as `tf.TensorArray` makes
 * them; throws ServeError UNIMPLEMENTED for others. Gradients and the older ops (TensorArray, V2) stay.
 */
export class TensorArrayRewriter extends Rewriter {
  private readonly names: UniqueNames;
  /** Values of the new graph that are lists, by node. */
  private readonly lists = new Map<FlatNode, Set<number>>();

  constructor(names: UniqueNames) {
    super();
    this.names = names;
  }

  protected override rewrite(node: FlatNode): Replacement {
    if (TENSOR_ARRAY_OPS.test(node.op)) return this.rewriteArrayOp(node) ?? this.copy(node);
    if (node.op === 'While' && node.bodies !== undefined) return this.rewriteLoop(node, node.bodies);
    if (node.bodies !== undefined) return this.rewriteBranches(node, node.bodies);
    const [input] = this.inputsOf(node);
    if (node.op !== 'Identity' || input === undefined || !this.isList(input)) return this.copy(node);
    if (node.controls.length === 0) return { outputs: [input], ran: input.node };
    const made = this.copy(node, { attrs: new Map([...node.attrs, ['T', VARIANT_TYPE]]) });
    if (made.ran !== undefined) this.lists.set(made.ran, new Set([0]));
    return made;
  }

  /** The lists among a branch's results are lists outside. */
  private rewriteBranches(node: FlatNode, bodies: readonly Body[]): Replacement {
    const made = bodies.map((body) => this.copyBody(body));
    const lists = (made[0]?.results ?? []).flatMap((ref, output) => (this.isList(ref) ? [output] : []));
    const attrs = withVariants(node.attrs, 'Tout', lists);
    const branch = this.emit({ ...node, inputs: this.inputsOf(node), controls: this.controlsOf(node), bodies: made, attrs });
    this.lists.set(branch, new Set(lists));
    return this.asItself(branch);
  }

  private rewriteLoop(node: FlatNode, bodies: readonly Body[]): Replacement {
    const inputs = this.inputsOf(node);
    const lists = inputs.flatMap((ref, index) => (this.isList(ref) ? [index] : []));
    if (lists.length === 0) return this.copy(node);
    const made = bodies.map((body) => {
      const parameters = body.parameters.map((parameter, index) => {
        if (!lists.includes(index)) return parameter;
        const typed = { ...parameter, attrs: new Map([...parameter.attrs, ['T', VARIANT_TYPE] as const]) };
        this.lists.set(typed, new Set([0]));
        this.replace(parameter, this.asItself(typed));
        return typed;
      });
      return { ...this.copyBody(body), parameters };
    });
    const loop = { ...node, inputs, controls: this.controlsOf(node), bodies: made, attrs: withVariants(node.attrs, 'T', lists) };
    this.lists.set(loop, new Set(lists));
    return this.asItself(this.emit(loop));
  }

  private rewriteArrayOp(node: FlatNode): Replacement | undefined {
    if (node.op === 'TensorArrayV3') return this.reserve(node);
    const kind = /^TensorArray(Read|Write|Scatter|Gather|Size|Concat|Split|Close)V3$/.exec(node.op)?.[1];
    const [handle, ...rest] = node.inputs;
    const array = handle === undefined ? undefined : factsOf(originOf(handle).node);
    if (kind === undefined || array === undefined) return undefined;
    if (kind === 'Close') return { outputs: [], ...this.waiting(node) };
    const given = rest.map((ref) => this.moved(ref) ?? ref);
    const flow = given.at(-1);
    if (flow === undefined || !this.isList(flow)) return undefined;
    return this.listOp(node, kind, array, given, flow);
  }

  private reserve(node: FlatNode): Replacement | undefined {
    const facts = factsOf(node);
    const [size] = this.inputsOf(node);
    if (facts === undefined || size === undefined) return undefined;
    const attrs: [string, AttrValue][] = [['shape_type', { type: 'dtype', value: INT32 }], ...growing(facts)];
    const shape = this.shapeConst(facts.shape);
    const list = this.list(node, 'TensorListReserve', [shape, size], facts, attrs);
    return { outputs: [list, list], ran: list.node };
  }

  private listOp(node: FlatNode, kind: string, array: ArrayFacts, given: readonly ValueRef[], flow: ValueRef): Replacement | undefined {
    const [first, second] = given;
    switch (kind) {
      case 'Read':
        return first && this.plain(node, 'TensorListGetItem', [flow, first, this.shapeConst(array.shape)], array);
      case 'Write':
        return first && second && this.listAlone(this.list(node, 'TensorListSetItem', [flow, first, second], array, setAttrs(array)));
      case 'Scatter':
        return (
          first &&
          second &&
          this.listAlone(this.list(node, 'TensorListScatterIntoExistingList', [flow, second, first], array, growing(array)))
        );
      case 'Split': {
        const shape = this.shapeConst(unknownFirst(array.shape));
        const attrs: [string, AttrValue][] = [['shape_type', { type: 'dtype', value: INT32 }]];
        return first && second && this.listAlone(this.list(node, 'TensorListSplit', [first, shape, second], array, attrs));
      }
      case 'Gather':
        return (
          first &&
          this.plain(node, 'TensorListGather', [flow, first, this.shapeConst(shapeAttr(node, 'element_shape') ?? array.shape)], array)
        );
      case 'Concat': {
        const rest = shapeAttr(node, 'element_shape_except0');
        const shape = this.shapeConst(rest === null ? unknownFirst(array.shape) : [-1, ...rest]);
        const attrs: [string, AttrValue][] = [['shape_type', { type: 'dtype', value: INT32 }]];
        return this.plain(node, 'TensorListConcatV2', [flow, shape, this.emptyLengths()], array, attrs);
      }
      default:
        return this.copy(node, { op: 'TensorListLength', inputs: [flow], attrs: new Map() });
    }
  }

  private plain(
    node: FlatNode,
    op: string,
    inputs: readonly ValueRef[],
    array: ArrayFacts,
    more: readonly [string, AttrValue][] = [],
  ): Replacement {
    const made = { ...node, op, inputs, controls: this.controlsOf(node), attrs: listAttrs(array, more) };
    return this.asItself(this.emit(made));
  }

  private list(node: FlatNode, op: string, inputs: readonly ValueRef[], array: ArrayFacts, more: readonly [string, AttrValue][]): ValueRef {
    const made = this.emit({ ...node, op, inputs, controls: this.controlsOf(node), attrs: listAttrs(array, more), outputCount: 1 });
    this.lists.set(made, new Set([0]));
    return { node: made, output: 0 };
  }

  private listAlone(list: ValueRef): Replacement {
    return { outputs: [list], ran: list.node };
  }

  /** A node that is dropped has run when what it waited for has. */
  private waiting(node: FlatNode): { readonly ran?: FlatNode } {
    const controls = this.controlsOf(node);
    if (controls.length === 0) return {};
    return { ran: this.emit({ name: node.name, op: 'NoOp', inputs: [], controls, attrs: new Map(), outputCount: 0 }) };
  }

  private isList({ node, output }: ValueRef): boolean {
    return this.lists.get(node)?.has(output) === true;
  }

  private shapeConst(shape: PartialShape): ValueRef {
    const data = Int32Array.from(shape ?? [-1]);
    return this.constant('element_shape', { dtype: 'int32', shape: shape === null ? [] : [data.length], data }, INT32);
  }

  private emptyLengths(): ValueRef {
    return this.constant('leading_dims', { dtype: 'int64', shape: [0], data: new BigInt64Array(0) }, INT64);
  }

  private constant(name: string, value: HostTensor, dtype: number): ValueRef {
    const attrs = new Map<string, AttrValue>([
      ['dtype', { type: 'dtype', value: dtype }],
      ['value', { type: 'tensor', value: tensorOfHost(value) }],
    ]);
    const full = this.names.take(`TensorArray/${name}`);
    return { node: this.emit({ name: full, op: 'Const', inputs: [], controls: [], attrs, outputCount: 1 }), output: 0 };
  }
}

function factsOf(node: FlatNode): ArrayFacts | undefined {
  const dtype = node.attrs.get('dtype');
  if (node.op !== 'TensorArrayV3' || dtype?.type !== 'dtype') return undefined;
  const grows = node.attrs.get('dynamic_size');
  return { node, dtype: dtype.value, shape: shapeAttr(node, 'element_shape'), grows: grows?.type === 'bool' && grows.value };
}

function shapeAttr(node: FlatNode, name: string): PartialShape {
  const value = node.attrs.get(name);
  return value?.type === 'shape' ? value.value : null;
}

function unknownFirst(shape: PartialShape): PartialShape {
  return shape === null || shape.length === 0 ? null : [-1, ...shape.slice(1)];
}

function listAttrs(array: ArrayFacts, more: readonly [string, AttrValue][]): ReadonlyMap<string, AttrValue> {
  return new Map<string, AttrValue>([['element_dtype', { type: 'dtype', value: array.dtype }], ...more]);
}

function growing({ grows }: ArrayFacts): [string, AttrValue][] {
  return grows ? [['_grows', { type: 'bool', value: true }]] : [];
}

function setAttrs(array: ArrayFacts): [string, AttrValue][] {
  return [['resize_if_index_out_of_bounds', { type: 'bool', value: array.grows }], ...growing(array)];
}

function withVariants(attrs: ReadonlyMap<string, AttrValue>, name: string, indices: readonly number[]): ReadonlyMap<string, AttrValue> {
  const types = attrs.get(name);
  if (types?.type !== 'list') return attrs;
  const values = types.values.map((value, index) => (indices.includes(index) ? VARIANT_TYPE : value));
  return new Map([...attrs, [name, { type: 'list', values }]]);
}
