/** What can be read off the nodes of loop bodies before they are translated. */
import type { Body, FlatNode, ValueRef } from '../flat-graph.ts';
import { numbersOf } from './constants.ts';

const PASSES = new Set(['Identity', 'StopGradient', 'PreventGradient', 'Snapshot', 'Enter']);

/** The value that a ref stands for after nodes that only hand it on. */
export function originOf(ref: ValueRef): ValueRef {
  let at = ref;
  while (PASSES.has(at.node.op)) {
    const [input] = at.node.inputs;
    if (input === undefined) return at;
    at = input;
  }
  return at;
}

/** The elements of a Const of numbers; null for other values. */
export function constantNumbers(ref: ValueRef): readonly number[] | null {
  const { node } = originOf(ref);
  const value = node.op === 'Const' ? node.attrs.get('value') : undefined;
  return value?.type === 'tensor' && value.value.bytes.byteLength <= 64 * 1024 ? numbersOf(value.value) : null;
}

/** The limit of a value that counts 0, 1, 2 … below it; undefined for other values. A constant's is its number of elements. */
export function countingLimit(ref: ValueRef | undefined): ValueRef | 'constant' | undefined {
  if (ref === undefined) return undefined;
  if (constantNumbers(ref)?.every((number, index) => number === index)) return 'constant';
  const { node } = originOf(ref);
  const [start, limit, step] = node.inputs;
  if (node.op !== 'Range' || start === undefined || step === undefined) return undefined;
  return constantNumbers(start)?.[0] === 0 && constantNumbers(step)?.[0] === 1 ? limit : undefined;
}

/** One use of a value: the node and which of its inputs; `node` is null for a result of the body. */
export interface Use {
  readonly node: FlatNode | null;
  readonly index: number;
  /** True in the bodies of loops and branches inside. */
  readonly isInner: boolean;
}

/** The uses of what nodes inside bodies compute, seen through nodes that only hand values on. */
export class Uses {
  readonly #uses = new Map<FlatNode, Map<number, Use[]>>();

  /** The uses in a body and in those inside it; `others` are bodies whose uses count as inner ones. */
  constructor(body: Body, others: readonly Body[] = []) {
    this.#addNodes(body, false);
    body.results.forEach((ref, index) => {
      this.#add(ref, { node: null, index, isInner: false });
    });
    for (const other of others) this.#addInner(other);
  }

  /** All uses of a value. */
  of({ node, output }: ValueRef): readonly Use[] {
    return this.#uses.get(node)?.get(output) ?? [];
  }

  #addNodes(body: Body, isInner: boolean): void {
    for (const node of body.nodes) {
      if (!PASSES.has(node.op)) {
        node.inputs.forEach((ref, index) => {
          this.#add(ref, { node, index, isInner });
        });
      }
      for (const inner of node.bodies ?? []) this.#addInner(inner);
    }
  }

  #addInner(body: Body): void {
    this.#addNodes(body, true);
    body.results.forEach((ref, index) => {
      this.#add(ref, { node: null, index, isInner: true });
    });
  }

  #add(ref: ValueRef, use: Use): void {
    const { node, output } = originOf(ref);
    const outputs = this.#uses.get(node) ?? new Map<number, Use[]>();
    const uses = outputs.get(output) ?? [];
    uses.push(use);
    outputs.set(output, uses);
    this.#uses.set(node, outputs);
  }
}

/** Which carried value a ref is as it comes into the round; -1 for none. */
export function parameterIndex(ref: ValueRef | undefined, body: Body): number {
  return ref === undefined ? -1 : body.parameters.indexOf(originOf(ref).node);
}

/** Whether a round adds exactly 1 to a carried value. */
export function countsRounds(index: number, body: Body): boolean {
  const result = body.results[index];
  if (result === undefined) return false;
  const { node } = originOf(result);
  const [left, right] = node.inputs;
  if ((node.op !== 'AddV2' && node.op !== 'Add') || left === undefined || right === undefined) return false;
  const isOne = (ref: ValueRef) => constantNumbers(ref)?.length === 1 && constantNumbers(ref)?.[0] === 1;
  return (parameterIndex(left, body) === index && isOne(right)) || (parameterIndex(right, body) === index && isOne(left));
}

/** How a round adds one item to a carried list that nothing else in the loop looks at. */
export type Collecting =
  /** It writes the item whose index is the carried value `counter`, which grows by 1. */
  { readonly type: 'write'; readonly counter: number } | { readonly type: 'push' };

/** How a round adds to the carried value of that index; null when it does anything else with it. */
export function collecting(index: number, body: Body, uses: Uses): Collecting | null {
  const parameter = body.parameters[index];
  const result = body.results[index];
  if (parameter === undefined || result === undefined) return null;
  const [use, ...others] = uses.of({ node: parameter, output: 0 });
  const writer = use?.node;
  if (use === undefined || !writer || use.isInner || others.length > 0 || originOf(result).node !== writer) return null;
  const outside = uses.of(originOf(result)).filter((one) => one.node !== null || one.isInner || one.index !== index);
  if (outside.length > 0) return null;
  if (use.index !== 0) return null;
  if (writer.op === 'TensorListPushBack') return { type: 'push' };
  if (writer.op !== 'TensorListSetItem') return null;
  const counter = parameterIndex(writer.inputs[1], body);
  return counter >= 0 && countsRounds(counter, body) ? { type: 'write', counter } : null;
}
