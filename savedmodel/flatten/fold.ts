import { ServeError } from '#mesh/errors.ts';
import { DTYPES, dtypeFromNumber, elementCount, type Tensor } from '#mesh/tensor.ts';
import type { FlatGraph, FlatNode, ValueRef } from '../flat-graph.ts';
import type { AttrValue } from '../graph.ts';
import type { HostTensor } from '../host-value.ts';
import { hostTensorOf, tensorOfHost } from './constant-value.ts';
import { evaluate, FOLDABLE_OPS } from './evaluate.ts';
import { staticShape } from './static-shape.ts';
import { topologicalOrder } from './topological.ts';

const DEFAULT_MAX_ELEMENTS = 65_536;

/** What is known beside the graph, and bounds. */
export interface FoldOptions {
  /** A value that is known although the graph computes or is fed it, such as a small variable that nothing writes. */
  readonly value?: (ref: ValueRef) => Tensor | undefined;
  /** Whether a PlaceholderWithDefault that is not fed counts as its default; default false. */
  readonly usePlaceholderDefaults?: (placeholder: FlatNode) => boolean;
  /** The most elements of a constant that is computed, and of all inputs of one; default 65536. Larger ones are passed on, never copied. */
  readonly maxElements?: number;
  /** Only what these need is kept; left out: everything that is not dead. */
  readonly roots?: readonly ValueRef[];
}

/** A graph whose constants are Const nodes, and whose TF1 conditionals with constant predicates are gone. */
export interface FoldedGraph extends FlatGraph {
  /** A constant's value, decoded once; undefined for what is computed. */
  constant(ref: ValueRef): HostTensor | undefined;
  /** Where a value of the graph before folding is now; undefined for one that is never computed, or not kept. */
  moved(ref: ValueRef): ValueRef | undefined;
}

/** A value of the new graph, or null for one that no run computes. */
export type Moved = ValueRef | null;

interface NewNode extends FlatNode {
  readonly inputs: ValueRef[];
  readonly controls: FlatNode[];
}

/**
 * Folds constants through the ops of {@link FOLDABLE_OPS} and prunes TF1 conditionals whose predicate is constant: their Switch and Merge
 * nodes vanish, what they do not take is dropped. Nodes keep their names, and are the same objects where nothing before them changed.
 */
export function foldConstants(flat: FlatGraph, options: FoldOptions = {}): FoldedGraph {
  const fold = new Fold(options);
  for (const node of flat.nodes) fold.announce(node);
  for (const node of flat.nodes) fold.visit(node);
  const moved = (ref: ValueRef) => fold.moved(ref) ?? undefined;
  const roots = options.roots?.flatMap((ref) => moved(ref)?.node ?? fold.movedNode(ref.node) ?? []) ?? fold.all(flat.nodes);
  const nodes = topologicalOrder(roots);
  return {
    nodes,
    constant: (ref) => fold.decoded(ref),
    moved,
    value(tensorName) {
      const before = flat.value(tensorName);
      const now = moved(before) ?? (before.node.outputCount === 0 ? asOperation(fold.movedNode(before.node)) : undefined);
      if (now !== undefined) return now;
      throw new ServeError('INVALID_ARGUMENT', `tensor ${tensorName} is never computed: a conditional always takes its other branch`);
    },
  };
}

function asOperation(node: FlatNode | undefined): ValueRef | undefined {
  return node === undefined ? undefined : { node, output: 0 };
}

/** Folds node by node, each after what it needs: the engine of {@link foldConstants}, and of graphs with bodies in `structure/`. */
export class Fold {
  private readonly options: FoldOptions;
  private readonly maxElements: number;
  /** By node, its outputs in the new graph. */
  private readonly outputs = new Map<FlatNode, readonly Moved[]>();
  /** By node, the node that stands for having run it; null for one that never runs. */
  private readonly ran = new Map<FlatNode, FlatNode | null>();
  private readonly values = new Map<FlatNode, HostTensor>();

  constructor(options: FoldOptions = {}) {
    this.options = options;
    this.maxElements = options.maxElements ?? DEFAULT_MAX_ELEMENTS;
  }

  /** Makes the new node of a NextIteration beforehand: the Merge that it feeds comes first. */
  announce(node: FlatNode): void {
    if (isNextIteration(node)) this.keepAs(node, { ...node, inputs: [], controls: [] });
  }

  /** Moves a node; gives the node that stands for having run it, null for one that never runs. */
  visit(node: FlatNode): FlatNode | null {
    const inputs = node.inputs.map((ref) => this.moved(ref));
    const controls = this.controlsOf(node);
    if (controls === null) return this.drop(node);
    if (node.op === 'Merge' || node.op === 'RefMerge') return this.visitMerge(node, inputs, controls);
    if (!inputs.every((ref) => ref !== null)) return this.drop(node);
    if (isNextIteration(node)) {
      const made = this.ran.get(node) as NewNode;
      made.inputs.push(...inputs);
      made.controls.push(...controls);
      return made;
    }
    if (node.op === 'Switch' || node.op === 'RefSwitch') return this.visitSwitch(node, inputs, controls);
    return this.visitPlain(node, inputs, controls);
  }

  moved({ node, output }: ValueRef): Moved {
    return this.outputs.get(node)?.[output] ?? null;
  }

  movedNode(node: FlatNode): FlatNode | undefined {
    return this.ran.get(node) ?? undefined;
  }

  /** The value of a Const of the new graph. */
  decoded({ node }: ValueRef): HostTensor | undefined {
    if (node.op !== 'Const') return undefined;
    const known = this.values.get(node);
    if (known !== undefined) return known;
    const value = node.attrs.get('value');
    if (value?.type !== 'tensor') return undefined;
    const decoded = hostTensorOf(value.value);
    this.values.set(node, decoded);
    return decoded;
  }

  /** All nodes of the new graph that some node of the old one became. */
  all(nodes: readonly FlatNode[]): FlatNode[] {
    return [
      ...new Set(
        nodes.flatMap((node) => [...(this.outputs.get(node) ?? []).flatMap((ref) => ref?.node ?? []), this.ran.get(node) ?? []]).flat(),
      ),
    ];
  }

  private visitMerge(node: FlatNode, inputs: readonly Moved[], controls: readonly FlatNode[]): FlatNode | null {
    const live = inputs.filter((ref) => ref !== null);
    const isLoop = node.inputs.some((ref) => isNextIteration(ref.node));
    const entered = node.inputs.some((ref, index) => !isNextIteration(ref.node) && inputs[index] !== null);
    if (live.length === 0 || (isLoop && !entered)) return this.drop(node);
    const [only] = live;
    if (isLoop || live.length > 1 || inputs.length === 1 || only === undefined) return this.keep(node, live, controls);
    const index = this.newConst(node, 1, { dtype: 'int32', shape: [], data: Int32Array.of(inputs.indexOf(only)) }, controls);
    return this.alias(node, [only, { node: index, output: 0 }], only.node);
  }

  private visitSwitch(node: FlatNode, inputs: readonly ValueRef[], controls: readonly FlatNode[]): FlatNode | null {
    const [data, predicate] = inputs;
    const known = predicate === undefined ? undefined : this.decoded(predicate);
    if (data === undefined || known === undefined) return this.keep(node, inputs, controls);
    return this.alias(node, Number(known.data[0]) === 0 ? [data, null] : [null, data], data.node);
  }

  protected visitPlain(node: FlatNode, inputs: readonly ValueRef[], controls: readonly FlatNode[]): FlatNode | null {
    const given = node.op === 'Const' ? undefined : this.given(node);
    if (given !== undefined) return this.foldInto(node, [hostTensorOf(given)], controls);
    const [first] = inputs;
    if (node.op === 'PlaceholderWithDefault' && first !== undefined && this.options.usePlaceholderDefaults?.(node)) {
      return this.alias(node, [first], first.node);
    }
    const shapes = shapeQuestion(node, inputs);
    if (shapes !== undefined) return this.foldInto(node, shapes, controls);
    if (!FOLDABLE_OPS.has(node.op) || inputs.length === 0 || !inputs.every((ref) => ref.node.op === 'Const')) {
      return this.keep(node, inputs, controls);
    }
    if (node.op === 'Identity' && first !== undefined && controls.length === 0) {
      return this.alias(node, [first], first.node);
    }
    const values = this.smallValues(inputs);
    const computed = values === undefined ? undefined : evaluate(node, values, this.maxElements);
    if (computed === undefined) return this.keep(node, inputs, controls);
    const gathered = new Set([...controls, ...inputs.flatMap((ref) => ref.node.controls)]);
    return this.foldInto(node, computed, [...gathered]);
  }

  private given(node: FlatNode): Tensor | undefined {
    return node.outputCount === 1 ? this.options.value?.({ node, output: 0 }) : undefined;
  }

  /** The inputs' values, unless one of them is too large to be worth decoding. */
  private smallValues(inputs: readonly ValueRef[]): HostTensor[] | undefined {
    const values: HostTensor[] = [];
    for (const ref of inputs) {
      const shape = staticShape(ref);
      if (shape === undefined || elementCount(shape) > this.maxElements) return undefined;
      const value = this.decoded(ref);
      if (value === undefined) return undefined;
      values.push(value);
    }
    return values;
  }

  private foldInto(node: FlatNode, values: readonly HostTensor[], controls: readonly FlatNode[]): FlatNode | null {
    const made = values.map((value, output) => this.newConst(node, output, value, controls));
    return this.alias(
      node,
      made.map((one) => ({ node: one, output: 0 })),
      made[0] ?? null,
    );
  }

  protected newConst(node: FlatNode, output: number, value: HostTensor, controls: readonly FlatNode[]): FlatNode {
    const attrs = new Map<string, AttrValue>([
      ['dtype', { type: 'dtype', value: DTYPES[value.dtype].number }],
      ['value', { type: 'tensor', value: tensorOfHost(value) }],
    ]);
    const name = output === 0 ? node.name : `${node.name}^output${output}`;
    const made: FlatNode = { name, op: 'Const', inputs: [], controls, attrs, outputCount: 1 };
    this.values.set(made, value);
    return made;
  }

  protected keep(node: FlatNode, inputs: readonly ValueRef[], controls: readonly FlatNode[]): FlatNode | null {
    const sameInputs = inputs.length === node.inputs.length && inputs.every((ref, index) => isSame(ref, node.inputs[index]));
    const sameControls =
      controls === node.controls ||
      (controls.length === node.controls.length && controls.every((one, index) => one === node.controls[index]));
    return this.keepAs(node, sameInputs && sameControls ? node : { ...node, inputs, controls });
  }

  protected keepAs(node: FlatNode, made: FlatNode): FlatNode | null {
    return this.alias(
      node,
      Array.from({ length: made.outputCount }, (_, output) => ({ node: made, output })),
      made,
    );
  }

  private drop(node: FlatNode): FlatNode | null {
    return this.alias(node, [], null);
  }

  protected alias(node: FlatNode, outputs: readonly Moved[], ran: FlatNode | null): FlatNode | null {
    this.outputs.set(node, outputs);
    this.ran.set(node, ran);
    return ran;
  }

  /** The new control edges; null when one comes from a node that never runs. A constant has always run: what it waits for takes its place. */
  protected controlsOf(node: FlatNode): readonly FlatNode[] | null {
    if (node.controls.every((before) => before.op !== 'Const' && this.ran.get(before) === before)) return node.controls;
    const controls = new Set<FlatNode>();
    for (const before of node.controls) {
      const now = this.ran.get(before);
      if (now === null || now === undefined) return null;
      for (const one of now.op === 'Const' ? now.controls : [now]) controls.add(one);
    }
    return [...controls];
  }
}

/** The answers to Shape, ShapeN, Size, Rank and VariableShape where all shapes are static, without looking at elements. */
function shapeQuestion(node: FlatNode, inputs: readonly ValueRef[]): readonly HostTensor[] | undefined {
  if (!/^(ShapeN?|Size|Rank|VariableShape)$/.test(node.op)) return undefined;
  const shapes: (readonly number[])[] = [];
  for (const ref of inputs) {
    const shape = staticShape(ref);
    if (shape === undefined) return undefined;
    shapes.push(shape);
  }
  const type = node.attrs.get('out_type');
  const dtype = type?.type === 'dtype' ? dtypeFromNumber(type.value) : 'int32';
  const answers = shapes.map((shape) => {
    if (node.op === 'Rank') return integers([], [shape.length], 'int32');
    if (node.op === 'Size') return integers([], [elementCount(shape)], dtype);
    return integers([shape.length], shape, dtype);
  });
  return answers.length === 0 ? undefined : answers;
}

function integers(shape: readonly number[], values: readonly number[], dtype: HostTensor['dtype'] | undefined): HostTensor {
  if (dtype === 'int64') return { dtype, shape, data: BigInt64Array.from(values, BigInt) };
  return { dtype: 'int32', shape, data: Int32Array.from(values) };
}

function isNextIteration(node: FlatNode): boolean {
  return node.op === 'NextIteration' || node.op === 'RefNextIteration';
}

function isSame(one: ValueRef, other: ValueRef | undefined): boolean {
  return one.node === other?.node && one.output === other.output;
}
