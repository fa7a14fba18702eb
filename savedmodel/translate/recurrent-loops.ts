/** Loops that are LSTM, GRU or plain recurrent layers, as ONNX's operators for them. */
import type { Body, FlatNode, ValueRef } from '../flat-graph.ts';
import { collecting, constantNumbers, countsRounds, originOf, parameterIndex, Uses } from './body-patterns.ts';
import { completedList, startsAtZero } from './collected-lists.ts';
import { isList, type ListValue, stackedList, type Value } from './list-value.ts';
import { RoundAlgebra } from './recurrent-algebra.ts';
import { type Cell, matchCell, type State } from './recurrent-cells.ts';
import { emitCell } from './recurrent-operators.ts';
import type { Scope } from './scope.ts';
import { writeItem } from './tensor-lists.ts';
import type { TranslationContext, TypedValue } from './translator.ts';
import { UntranslatableError } from './untranslatable.ts';

/** What becomes of a carried value in a recurrent layer. */
type Role =
  | { readonly type: 'same' }
  | { readonly type: 'counter' }
  | { readonly type: 'state' }
  /** A list that gets the cell's output: of every round at its place, or always at one place, so that the last round's stays. */
  | { readonly type: 'all' | 'last'; readonly initial: ListValue; readonly index: ValueRef };

interface Layer {
  readonly roles: readonly Role[];
  readonly cell: Cell;
  /** The list whose element each round takes. */
  readonly list: ValueRef;
  /** The loop ends at the smallest of these. */
  readonly limits: readonly ValueRef[];
}

/** Translates a While that is a recurrent layer; null for any other. Throws what translating the values around it throws. */
export function translateRecurrent(node: FlatNode, condition: Body, body: Body, scope: Scope): readonly Value[] | null {
  // What the body computes without the round's values is translated beside the loop, by this scope.
  const hoisted = scope.inner();
  const layer = recognise(node, condition, body, hoisted);
  return layer === null ? null : emitLayer(node, body, layer, hoisted);
}

function recognise(node: FlatNode, condition: Body, body: Body, scope: Scope): Layer | null {
  const limits = limitsOf(node, condition, body, scope);
  if (limits === null) return null;
  const algebra = new RoundAlgebra(body, {
    shapeOf: (ref) => invariant(ref, body, scope)?.shape ?? null,
    widthOf: (index) => widthOf(node, index, scope),
    isRound: (ref) => isCounter(node, parameterIndex(ref, body), body, scope),
  });
  const uses = new Uses(body, [condition]);
  const roles: Role[] = [];
  const states: State[] = [];
  const items: (ValueRef | undefined)[] = [];
  for (const [index, result] of body.results.entries()) {
    const role = roleOf(node, index, body, uses, algebra, scope);
    if (role === null) return null;
    roles.push(role);
    if (role.type === 'all' || role.type === 'last') items.push(originOf(result).node.inputs[2]);
    if (role.type !== 'state') continue;
    const next = algebra.of(result);
    if (next === null) return null;
    states.push({ index, next });
  }
  const cell = matchCell(states);
  if (cell === null) return null;
  const output = states.find((state) => state.index === cell.output)?.next;
  if (items.some((item) => item === undefined || algebra.of(item) !== output)) return null;
  const list = listOf(cell);
  return list === null ? null : { roles, cell, list, limits };
}

/** The one list that all gates take the round's element of. */
function listOf(cell: Cell): ValueRef | null {
  const lists = cell.gates.map(({ input }) => (input.operand.op === 'input' ? input.operand.list : null));
  const [first] = lists;
  if (!first) return null;
  const origin = originOf(first);
  return lists.every((one) => one !== null && originOf(one).node === origin.node && originOf(one).output === origin.output) ? first : null;
}

function isCounter(node: FlatNode, index: number, body: Body, scope: Scope): boolean {
  return index >= 0 && countsRounds(index, body) && startsAtZero(node, index, scope);
}

function roleOf(node: FlatNode, index: number, body: Body, uses: Uses, algebra: RoundAlgebra, scope: Scope): Role | null {
  const ref = node.inputs[index];
  if (ref === undefined) return null;
  if (parameterIndex(body.results[index], body) === index) return { type: 'same' };
  if (isCounter(node, index, body, scope)) return { type: 'counter' };
  const initial = scope.value(ref, node);
  if (!isList(initial)) return initial.dtype === 'float' ? { type: 'state' } : null;
  if (initial.list === 'collected' || (initial.list === 'stacked' && initial.open)) return null;
  const how = collecting(index, body, uses);
  const place = how?.type === 'write' ? node.inputs[how.counter] : undefined;
  if (how?.type === 'write' && place !== undefined && startsAtZero(node, how.counter, scope)) return { type: 'all', initial, index: place };
  return lastPlace(index, body, uses, algebra, initial);
}

/** A list that every round writes at the same place. */
function lastPlace(index: number, body: Body, uses: Uses, algebra: RoundAlgebra, initial: ListValue): Role | null {
  const [parameter, result] = [body.parameters[index], body.results[index]];
  if (parameter === undefined || result === undefined) return null;
  const [use, ...others] = uses.of({ node: parameter, output: 0 });
  const writer = originOf(result).node;
  const place = writer.inputs[1];
  const isWritten = use?.node === writer && use.index === 0 && !use.isInner && writer.op === 'TensorListSetItem' && others.length === 0;
  if (!isWritten || place === undefined || !algebra.isInvariant(place) || uses.of(originOf(result)).length !== 1) return null;
  return { type: 'last', initial, index: place };
}

/** Limits of a condition that is `counter < limit`, or several of those joined by And; null for another one. */
function limitsOf(node: FlatNode, condition: Body, body: Body, scope: Scope): readonly ValueRef[] | null {
  const limits: ValueRef[] = [];
  const open = condition.results.slice(0, 1);
  for (let ref = open.pop(); ref !== undefined; ref = open.pop()) {
    const { node: test } = originOf(ref);
    const [left, right] = test.inputs;
    if (left === undefined || right === undefined) return null;
    if (test.op === 'LogicalAnd') open.push(left, right);
    else if (test.op !== 'Less' || !isCounter(node, parameterIndex(left, condition), body, scope)) return null;
    else {
      const limit = limitOf(node, right, condition, body);
      if (limit === null) return null;
      limits.push(limit);
    }
  }
  return limits.length === 0 ? null : limits;
}

function limitOf(node: FlatNode, ref: ValueRef, condition: Body, body: Body): ValueRef | null {
  const carried = parameterIndex(ref, condition);
  if (carried >= 0) return parameterIndex(body.results[carried], body) === carried ? (node.inputs[carried] ?? null) : null;
  const origin = originOf(ref);
  return condition.nodes.includes(origin.node) && constantNumbers(origin) === null ? null : origin;
}

/** A value that does not depend on the round, translated outside of the loop; null for a list, and for what cannot be. */
function invariant(ref: ValueRef, body: Body, scope: Scope): TypedValue | null {
  const own = new Set(body.nodes);
  const needed = new Set<FlatNode>();
  const open = [ref.node];
  for (let one = open.pop(); one !== undefined; one = open.pop()) {
    if (!own.has(one) || needed.has(one)) continue;
    needed.add(one);
    open.push(...one.inputs.map((input) => input.node));
  }
  try {
    scope.translate(body.nodes.filter((one) => needed.has(one)));
  } catch (caught) {
    if (caught instanceof UntranslatableError) return null;
    throw caught;
  }
  const value = scope.value(ref, ref.node);
  return isList(value) || value.dtype !== 'float' ? null : value;
}

/** The columns of a state; null where they are not known. */
function widthOf(node: FlatNode, index: number, scope: Scope): number | null {
  const ref = node.inputs[index];
  const value = ref === undefined ? undefined : scope.value(ref, node);
  if (value === undefined || isList(value) || value.shape?.length !== 2) return null;
  const width = value.shape[1] ?? -1;
  return width < 0 ? null : width;
}

function emitLayer(node: FlatNode, body: Body, { roles, cell, list, limits }: Layer, scope: Scope): readonly Value[] | null {
  const context = scope.builder.at(node, []);
  const steps = scope.value(list, node);
  if (!isList(steps) || steps.list !== 'stacked' || steps.open || steps.elements.shape?.length !== 3) return null;
  const isWhole = limits.every((limit) => isFirstSize(limit, list));
  const rounds = roundsOf(limits, node, scope, context);
  const input = isWhole ? steps.elements : firstRows(steps.elements, rounds, context);
  const initial = (index: number) => {
    const ref = node.inputs[index];
    if (ref === undefined) throw new TypeError('a carried value has an input (this is a bug)');
    return isZeros(ref) ? null : scope.tensor(ref, node);
  };
  const weights = (ref: ValueRef) => {
    const value = invariant(ref, body, scope);
    if (value === null) throw new UntranslatableError(ref.node, 'weights that are no tensor');
    return value;
  };
  const given = { input, output: initial(cell.output), memory: cell.memory === null ? null : initial(cell.memory), weights };
  const made = emitCell(cell, given, scope.builder, node);
  const after = (role: Role, ref: ValueRef, index: number): Value => {
    if (role.type === 'same') return scope.value(ref, node);
    if (role.type === 'counter') {
      const last = context.binary('Max', context.squeeze(rounds, [0]), context.scalar(0, 'int64'));
      return context.castTo(last, scope.tensor(ref, node).dtype);
    }
    if (role.type === 'state') return index === cell.memory && made.memory !== null ? made.memory : made.output;
    if (role.type === 'last') {
      scope.translate(body.nodes.filter((one) => one === originOf(role.index).node));
      return writeItem(role.initial, scope.tensor(role.index, node), made.output, context);
    }
    const isExact = limits.every((limit) => isCountOf(limit, ref));
    return stackedList(isExact ? made.all : completedList(role.initial, { type: 'write', counter: -1 }, made.all, context));
  };
  return roles.flatMap((role, index) => {
    const ref = node.inputs[index];
    return ref === undefined ? [] : [after(role, ref, index)];
  });
}

/** The smallest of the limits, int64 [1]. */
function roundsOf(limits: readonly ValueRef[], node: FlatNode, scope: Scope, context: TranslationContext): TypedValue {
  const known = limits.flatMap((limit) => constantNumbers(limit)?.slice(0, 1) ?? []);
  const open = limits.filter((limit) => constantNumbers(limit) === null).map((limit) => limitValue(limit, node, scope, context));
  const [first, ...rest] = known.length === 0 ? open : [context.int64s([Math.min(...known)]), ...open];
  if (first === undefined) throw new TypeError('a loop has a limit (this is a bug)');
  return rest.reduce((least, limit) => context.binary('Min', least, limit), first);
}

/** Whether a state is made of nothing but zeros. */
function isZeros(ref: ValueRef): boolean {
  const { node } = originOf(ref);
  if (node.op === 'ZerosLike') return true;
  const made = node.op === 'Fill' ? node.inputs[1] : ref;
  const numbers = made === undefined ? null : constantNumbers(made);
  return numbers?.every((number) => number === 0) ?? false;
}

/** A limit as int64 [1]. */
function limitValue(limit: ValueRef, node: FlatNode, scope: Scope, context: TranslationContext): TypedValue {
  return context.reshape(context.castTo(scope.tensor(limit, node), 'int64'), [1]);
}

/** Up to so many rows a known count is made of indices. */
const INDEXED_ROWS = 4096;

/** The first rows of a tensor, as many as a count [1] says. With a known count fewer rows are an error, as they are to TensorFlow's loop. */
function firstRows(value: TypedValue, count: TypedValue, context: TranslationContext): TypedValue {
  const [known = -1] = context.staticInts(count) ?? [];
  if (known >= 0 && known === value.shape?.[0]) return value;
  const inner = value.shape?.slice(1) ?? [];
  if (known > 0 && known <= INDEXED_ROWS) {
    const places = context.int64s(Array.from({ length: known }, (_, index) => index));
    return context.compute('Gather', [value], { dtype: value.dtype, shape: [known, ...inner] }, { axis: 0 }, [places]);
  }
  const shape = [-1, ...inner];
  return context.compute('Slice', [value], { dtype: value.dtype, shape }, undefined, [context.int64s([0]), count, context.int64s([0])]);
}

/** Whether a limit is read off the shape of the tensor that the list is made of: then the loop takes all of it. */
function isFirstSize(limit: ValueRef, list: ValueRef): boolean {
  const [of, begin, end, step] = originOf(limit).node.inputs;
  const made = originOf(list).node;
  const [tensor] = made.inputs;
  const shape = of === undefined ? undefined : originOf(of).node;
  const [shaped] = shape?.inputs ?? [];
  if (originOf(limit).node.op !== 'StridedSlice' || shape?.op !== 'Shape' || !/^TensorListFromTensor$/.test(made.op)) return false;
  if (!shaped || !tensor || !begin || !end || !step) return false;
  const [one, other] = [originOf(shaped), originOf(tensor)];
  const bounds = [begin, end, step].map((ref) => constantNumbers(ref)?.join());
  const shrink = originOf(limit).node.attrs.get('shrink_axis_mask');
  return (
    one.node === other.node && one.output === other.output && bounds.join(';') === '0;1;1' && shrink?.type === 'int' && shrink.value === 1
  );
}

/** Whether a limit is the number of elements that a fresh list was made for. */
function isCountOf(limit: ValueRef, list: ValueRef): boolean {
  const made = originOf(list).node;
  const count = made.op === 'TensorListReserve' ? made.inputs[1] : undefined;
  if (count === undefined) return false;
  const [one, other] = [originOf(count), originOf(limit)];
  const [left, right] = [constantNumbers(one), constantNumbers(other)];
  return (one.node === other.node && one.output === other.output) || (left !== null && right !== null && left[0] === right[0]);
}
