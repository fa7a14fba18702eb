/**
 * What a round of a loop computes, as an expression of the round's input and the loop's states: recurrent cells are recognised by their formula,
 * however their matrices are joined, split and added up.
 */
import type { Body, FlatNode, ValueRef } from '../flat-graph.ts';
import { boolAttr, intAttr } from './attributes.ts';
import { constantNumbers, originOf } from './body-patterns.ts';
import type { StaticShape } from './static-shapes.ts';

/** Columns or rows from the first up to but without the second. */
export type Span = readonly [number, number];

/** A matrix [batch, columns], or a number. Equal objects are equal matrices. */
export type Expression =
  /** The element of a list that belongs to the round. */
  | { readonly op: 'input'; readonly list: ValueRef }
  /** A carried value as it comes into the round. */
  | { readonly op: 'state'; readonly index: number }
  | { readonly op: 'number'; readonly value: number }
  /** The same in every round. */
  | { readonly op: 'invariant'; readonly ref: ValueRef }
  | { readonly op: 'linear'; readonly terms: readonly Term[] }
  | { readonly op: 'apply'; readonly activation: string; readonly to: Expression }
  | { readonly op: 'add' | 'multiply'; readonly left: Expression; readonly right: Expression }
  /** 1 less the other. */
  | { readonly op: 'complement'; readonly of: Expression }
  | { readonly op: 'join'; readonly parts: readonly Expression[] };

/** The operand times some rows and columns of a matrix of weights. */
export interface Product {
  readonly type: 'product';
  readonly operand: Expression;
  readonly weights: ValueRef;
  readonly rows: Span;
  readonly columns: Span;
  /** The matrix is stored with rows and columns the other way round. */
  readonly transposed: boolean;
}

/** What is added to each row: some elements of a vector, or one number everywhere. */
export type Bias =
  | { readonly type: 'bias'; readonly vector: ValueRef; readonly columns: Span }
  | { readonly type: 'number'; readonly value: number };

/** A part of a linear expression; all have the same number of columns. */
export type Term = Product | Bias;

/** What the algebra must be told. */
export interface RoundFacts {
  /** The shape of a value that is the same in every round. */
  shapeOf(invariant: ValueRef): StaticShape;
  /** The number of columns of a carried value; null when it is not known, or the value no matrix. */
  widthOf(state: number): number | null;
  /** Whether a value is the number of the round, from 0. */
  isRound(ref: ValueRef): boolean;
}

/** ONNX's names of the activations that recurrent operators take, by TensorFlow op. */
const ACTIVATIONS: ReadonlySet<string> = new Set(['Sigmoid', 'Tanh', 'Relu', 'Softsign', 'Softplus', 'Elu']);

/** Reads the expressions of a body. */
export class RoundAlgebra {
  readonly #body: Body;
  readonly #own: ReadonlySet<FlatNode>;
  readonly #facts: RoundFacts;
  readonly #known = new Map<FlatNode, readonly (Expression | null)[]>();
  readonly #isInvariant = new Map<FlatNode, boolean>();

  constructor(body: Body, facts: RoundFacts) {
    this.#body = body;
    this.#own = new Set(body.nodes);
    this.#facts = facts;
  }

  /** The expression of a value of the body; null for one that is none of these. */
  of(ref: ValueRef): Expression | null {
    const { node, output } = originOf(ref);
    const known = this.#known.get(node) ?? this.#outputs(node);
    this.#known.set(node, known);
    return known[output] ?? null;
  }

  /** Whether a value of the body is the same in every round. */
  isInvariant(ref: ValueRef): boolean {
    const { node } = ref;
    if (this.#body.parameters.includes(node)) return false;
    if (!this.#own.has(node)) return true;
    const known = this.#isInvariant.get(node) ?? (node.bodies === undefined && node.inputs.every((input) => this.isInvariant(input)));
    this.#isInvariant.set(node, known);
    return known;
  }

  #outputs(node: FlatNode): readonly (Expression | null)[] {
    const parameter = this.#body.parameters.indexOf(node);
    if (parameter >= 0) return [{ op: 'state', index: parameter }];
    const numbers = constantNumbers({ node, output: 0 });
    const [number] = numbers ?? [];
    if (numbers?.length === 1 && number !== undefined) return [{ op: 'number', value: number }];
    if (this.isInvariant({ node, output: 0 })) {
      return Array.from({ length: node.outputCount }, (_, output) => ({ op: 'invariant', ref: { node, output } }) as const);
    }
    return this.#computed(node);
  }

  #computed(node: FlatNode): readonly (Expression | null)[] {
    const [first, second] = node.inputs;
    const at = (ref: ValueRef | undefined) => (ref === undefined ? null : this.of(ref));
    if (ACTIVATIONS.has(node.op)) {
      const to = at(first);
      return [to === null ? null : { op: 'apply', activation: node.op, to }];
    }
    switch (node.op) {
      case 'TensorListGetItem':
        return [first && second && this.isInvariant(first) && this.#facts.isRound(second) ? { op: 'input', list: first } : null];
      case 'MatMul':
        return [second === undefined ? null : this.#product(node, at(first), second)];
      case 'Add':
      case 'AddV2':
      case 'BiasAdd':
        return [this.#sum(at(first), at(second))];
      case 'Mul':
        return [pair('multiply', at(first), at(second))];
      case 'Sub': {
        const [one, of] = [at(first), at(second)];
        return [one?.op === 'number' && one.value === 1 && of !== null ? { op: 'complement', of } : null];
      }
      case 'Split':
        return this.#split(node, first, at(second));
      case 'StridedSlice':
      case 'Slice':
        return [this.#slice(node, at(first))];
      case 'ConcatV2':
        return [this.#join(node)];
      default:
        return [];
    }
  }

  #product(node: FlatNode, operand: Expression | null, weights: ValueRef): Expression | null {
    if (operand === null || boolAttr(node, 'transpose_a', false) || !this.isInvariant(weights)) return null;
    const transposed = boolAttr(node, 'transpose_b', false);
    const stored = this.#facts.shapeOf(weights);
    const [rows = -1, columns = -1] = transposed ? (stored?.toReversed() ?? []) : (stored ?? []);
    if (stored?.length !== 2 || rows < 0 || columns < 0) return null;
    const parts = operand.op === 'join' ? operand.parts : [operand];
    const widths = parts.map((part) => this.#width(part));
    const unknown = widths.filter((width) => width === null).length;
    const known = widths.reduce((sum: number, width) => sum + (width ?? 0), 0);
    if (unknown > 1 || (unknown === 0 && known !== rows)) return null;
    let from = 0;
    const terms = parts.map((part, index): Term => {
      const span = [from, from + (widths[index] ?? rows - known)] as const;
      from = span[1];
      return { type: 'product', operand: part, weights, rows: span, columns: [0, columns], transposed };
    });
    return { op: 'linear', terms };
  }

  /** The number of columns; null when it is not known. */
  #width(of: Expression): number | null {
    switch (of.op) {
      case 'state':
        return this.#facts.widthOf(of.index);
      case 'linear':
        return widthOfTerms(of.terms);
      case 'apply':
        return this.#width(of.to);
      case 'complement':
        return this.#width(of.of);
      case 'add':
      case 'multiply':
        return this.#width(of.left) ?? this.#width(of.right);
      default:
        return null;
    }
  }

  #sum(left: Expression | null, right: Expression | null): Expression | null {
    if (left === null || right === null) return null;
    if (left.op !== 'linear' && right.op !== 'linear') return pair('add', left, right);
    const [one, other] = [this.#terms(left), this.#terms(right)];
    if (one === null || other === null) return pair('add', left, right);
    const [width, same] = [widthOfTerms(one), widthOfTerms(other)];
    return width !== null && same !== null && width !== same ? null : { op: 'linear', terms: [...one, ...other] };
  }

  #terms(of: Expression): readonly Term[] | null {
    if (of.op === 'linear') return of.terms;
    if (of.op === 'number') return [{ type: 'number', value: of.value }];
    if (of.op !== 'invariant') return null;
    const shape = this.#facts.shapeOf(of.ref);
    const [size = -1] = shape ?? [];
    return shape?.length === 1 && size >= 0 ? [{ type: 'bias', vector: of.ref, columns: [0, size] }] : null;
  }

  #split(node: FlatNode, axis: ValueRef | undefined, value: Expression | null): readonly (Expression | null)[] {
    const [along] = (axis === undefined ? null : constantNumbers(axis)) ?? [];
    const width = value === null ? null : this.#width(value);
    const count = intAttr(node, 'num_split');
    if (value === null || width === null || (along !== 1 && along !== -1) || width % count !== 0) return [];
    const size = width / count;
    return Array.from({ length: count }, (_, index) => columnsOf(value, [index * size, (index + 1) * size]));
  }

  /** Some columns, all rows. */
  #slice(node: FlatNode, value: Expression | null): Expression | null {
    const width = value === null ? null : this.#width(value);
    const span = width === null ? null : node.op === 'Slice' ? sliceSpan(node, width) : stridedSpan(node, width);
    return value === null || span === null ? null : columnsOf(value, span);
  }

  #join(node: FlatNode): Expression | null {
    const axis = node.inputs.at(-1);
    const [along] = (axis === undefined ? null : constantNumbers(axis)) ?? [];
    const parts = node.inputs.slice(0, -1).map((input) => this.of(input));
    const known = parts.filter((part) => part !== null);
    return (along === 1 || along === -1) && known.length === parts.length ? { op: 'join', parts: known } : null;
  }
}

function pair(op: 'add' | 'multiply', left: Expression | null, right: Expression | null): Expression | null {
  return left === null || right === null ? null : { op, left, right };
}

function widthOfTerms(terms: readonly Term[]): number | null {
  for (const term of terms) if (term.type !== 'number') return term.columns[1] - term.columns[0];
  return null;
}

/** Some columns of an expression: what is done element by element is done to those columns. */
function columnsOf(of: Expression, span: Span): Expression | null {
  switch (of.op) {
    case 'linear': {
      const cut = ([from]: Span): Span => [from + span[0], from + span[1]];
      return { op: 'linear', terms: of.terms.map((term) => (term.type === 'number' ? term : { ...term, columns: cut(term.columns) })) };
    }
    case 'apply': {
      const to = columnsOf(of.to, span);
      return to === null ? null : { ...of, to };
    }
    case 'number':
      return of;
    default:
      return null;
  }
}

function sliceSpan(node: FlatNode, width: number): Span | null {
  const [, begin, size] = node.inputs.map((input) => constantNumbers(input));
  const [row, from = -1] = begin ?? [];
  const [rows, count = 0] = size ?? [];
  if (begin?.length !== 2 || size?.length !== 2 || row !== 0 || rows !== -1 || from < 0) return null;
  return [from, count === -1 ? width : from + count];
}

function stridedSpan(node: FlatNode, width: number): Span | null {
  const [, begin, end, strides] = node.inputs.map((input) => constantNumbers(input));
  const masks = ['ellipsis_mask', 'new_axis_mask', 'shrink_axis_mask'].some((name) => intAttr(node, name, 0) !== 0);
  if (begin?.length !== 2 || end?.length !== 2 || strides?.some((step) => step !== 1) !== false || masks) return null;
  const isFree = (name: string, axis: number) => (intAttr(node, name, 0) & (1 << axis)) !== 0;
  if (!isFree('end_mask', 0) || !(isFree('begin_mask', 0) || begin[0] === 0)) return null;
  const place = (at: number) => Math.min(at < 0 ? at + width : at, width);
  const from = isFree('begin_mask', 1) ? 0 : place(begin[1] ?? 0);
  const to = isFree('end_mask', 1) ? width : place(end[1] ?? 0);
  return from >= 0 && to > from ? [from, to] : null;
}
