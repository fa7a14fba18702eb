/** While as ONNX's Loop. */
import type { Body, FlatNode } from '../flat-graph.ts';
import { type Collecting, collecting, parameterIndex, Uses } from './body-patterns.ts';
import { truth, unwrittenRows } from './branches.ts';
import { completedList, startsAtZero } from './collected-lists.ts';
import { graphInside } from './graph-inside.ts';
import { elementShapeOf, isList, stackedList, type Value } from './list-value.ts';
import { translateRecurrent } from './recurrent-loops.ts';
import type { Scope } from './scope.ts';
import { commonShape, isFullyKnown, mergeShapes, type StaticShape } from './static-shapes.ts';
import type { TensorType, TranslationContext, TypedValue } from './translator.ts';
import { UntranslatableError } from './untranslatable.ts';

/** Types grow from round to round of translating until they are stable: at most this often. */
const MAX_ATTEMPTS = 32;

/** What becomes of a carried value. */
type Carried =
  /** Every round hands it on as it is. */
  | { readonly type: 'same'; readonly initial: Value }
  /** A list that every round adds one item to: a scan output of the Loop. */
  | { readonly type: 'collected'; readonly initial: Extract<Value, { list: string }>; readonly how: Collecting }
  /** A tensor whose shape in every round is at least this much known. */
  | { readonly type: 'tensor'; readonly initial: TypedValue; readonly shape: StaticShape }
  /** A list as the tensor of its elements, of which this shape is known in every round; `element` is what zeros are made by before. */
  | {
      readonly type: 'list';
      readonly initial: Extract<Value, { list: string }>;
      readonly element: StaticShape;
      readonly shape: StaticShape;
      readonly open: boolean;
    };

/** A round as it was translated. */
interface Round {
  readonly scope: Scope;
  readonly counter: TypedValue;
  readonly condition: TypedValue;
  /** The Loop's own values as they come into the round, one for each tensor and list. */
  readonly parameters: readonly TypedValue[];
  readonly results: readonly Value[];
}

/** Translates a While node with bodies: to a recurrent operator where it is one, else to a Loop. */
export function translateWhile(node: FlatNode, scope: Scope): readonly Value[] {
  const [condition, body] = node.bodies ?? [];
  if (condition === undefined || body === undefined) throw new UntranslatableError(node, 'it lacks its condition or body');
  const recurrent = translateRecurrent(node, condition, body, scope);
  if (recurrent !== null) return recurrent;
  const initials = node.inputs.map((ref) => scope.value(ref, node));
  const first = evaluate(node, condition, initials, scope.inner());
  if (scope.builder.at(node, []).staticInts(first)?.[0] === 0) return initials;
  const uses = new Uses(body, [condition]);
  let carried = initials.map((initial, index) => firstGuess(node, index, initial, body, uses, scope));
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const round = translateRound(node, condition, body, carried, scope);
    const seen = carried.map((one, index) => widen(node, one, round.results[index]));
    if (seen.every((one, index) => one === carried[index])) return emitLoop(node, carried, first, round, scope);
    carried = seen;
  }
  throw new UntranslatableError(node, 'the types of what it carries change without end');
}

/** The condition for the values given, as a bool scalar. */
function evaluate(node: FlatNode, condition: Body, values: readonly Value[], scope: Scope): TypedValue {
  condition.parameters.forEach((parameter, index) => {
    const value = values[index];
    if (value !== undefined) scope.put({ node: parameter, output: 0 }, value);
  });
  scope.translate(condition.nodes);
  const [result] = condition.results;
  if (result === undefined) throw new UntranslatableError(node, 'its condition gives nothing');
  return truth(scope.tensor(result, node), scope.builder.at(node, []));
}

function firstGuess(node: FlatNode, index: number, initial: Value, body: Body, uses: Uses, scope: Scope): Carried {
  if (parameterIndex(body.results[index], body) === index) return { type: 'same', initial };
  if (!isList(initial)) return { type: 'tensor', initial, shape: initial.shape };
  const how = collecting(index, body, uses);
  const context = scope.builder.at(node, []);
  const isEmpty = initial.list === 'unwritten' && context.staticInts(initial.count)?.[0] === 0;
  const closed = initial.list === 'stacked' && !initial.open;
  if (how?.type === 'push' && (isEmpty || closed)) return { type: 'collected', initial, how };
  if (how?.type === 'write' && (initial.list === 'unwritten' || closed) && startsAtZero(node, how.counter, scope)) {
    return { type: 'collected', initial, how };
  }
  const element = elementShapeOf(initial);
  const shape = initial.list === 'stacked' ? initial.elements.shape : null;
  return { type: 'list', initial, element, shape, open: initial.list === 'stacked' && initial.open };
}

function translateRound(node: FlatNode, condition: Body, body: Body, carried: readonly Carried[], outer: Scope): Round {
  const scope = outer.inner(outer.builder.inner());
  const { pool } = scope.builder;
  const parameters: TypedValue[] = [];
  const own = (name: string, type: TensorType): TypedValue => {
    const value = { name: pool.freshName(`${node.name}/${name}`), dtype: type.dtype, shape: type.shape };
    parameters.push(value);
    return value;
  };
  carried.forEach((one, index) => {
    const parameter = body.parameters[index];
    if (parameter === undefined) throw new UntranslatableError(node, `its body has no parameter ${index}`);
    scope.put(
      { node: parameter, output: 0 },
      valueInside(one, (type) => own(parameter.name, type)),
    );
  });
  scope.translate(body.nodes);
  const results = body.results.map((ref) => scope.value(ref, node));
  const next = evaluate(node, condition, results, scope.inner());
  const counter = { name: pool.freshName(`${node.name}/round`), dtype: 'int64' as const, shape: [] };
  return { scope, counter, condition: next, parameters, results };
}

/** What a round sees of a carried value. A list that nothing was written to so far stays one for the first attempt. */
function valueInside(one: Carried, own: (type: TensorType) => TypedValue): Value {
  if (one.type === 'same') return one.initial;
  if (one.type === 'collected') return { list: 'collected', dtype: one.initial.dtype, items: [] };
  if (one.type === 'tensor') return own({ dtype: one.initial.dtype, shape: one.shape });
  if (one.initial.list === 'unwritten' && one.shape === null) return one.initial;
  return stackedList(own({ dtype: one.initial.dtype, shape: one.shape }), one.open);
}

/** The same object when the round's result is what was assumed, else a weaker assumption. */
function widen(node: FlatNode, one: Carried, result: Value | undefined): Carried {
  if (result === undefined) throw new UntranslatableError(node, 'its body gives too few results');
  if (one.type === 'same' || one.type === 'collected') return one;
  if (one.initial.dtype !== result.dtype) throw new UntranslatableError(node, `a value goes from ${one.initial.dtype} to ${result.dtype}`);
  if (one.type === 'tensor') {
    if (isList(result)) throw new UntranslatableError(node, 'a tensor becomes a list');
    const shape = commonShape(one.shape, result.shape);
    return isEqual(shape, one.shape) ? one : { ...one, shape };
  }
  if (!isList(result) || result.list === 'collected') throw new UntranslatableError(node, 'a list becomes a tensor');
  if (result.list === 'unwritten') {
    if (result === one.initial) return one;
    throw new UntranslatableError(node, 'a list that nothing is written to changes its length');
  }
  if (one.initial.list !== 'unwritten' || one.shape !== null) {
    const [shape, open] = [commonShape(one.shape, result.elements.shape), one.open || result.open];
    return isEqual(shape, one.shape) && open === one.open ? one : { ...one, shape, open };
  }
  const element = mergeShapes(one.element, elementShapeOf(result));
  if (element === null) throw new UntranslatableError(node, 'the rank of the elements of a list that it writes is not known');
  const open = !isFullyKnown(element) || result.open;
  return { ...one, element, shape: [-1, ...element], open };
}

function isEqual(left: StaticShape, right: StaticShape): boolean {
  return left === null || right === null ? left === right : `${left}` === `${right}`;
}

function emitLoop(node: FlatNode, carried: readonly Carried[], first: TypedValue, round: Round, scope: Scope): readonly Value[] {
  const context = scope.builder.at(node, []);
  const inside = round.scope.builder.at(node, []);
  const looped = carried.map((one, index) => ({ one, index })).filter(({ one }) => isLooped(one));
  const scanned = carried.flatMap((one, index) =>
    one.type === 'collected' ? [{ one, item: itemOf(node, round.results[index]), index }] : [],
  );
  const results = looped.map(({ one, index }) => {
    const result = round.results[index];
    if (result === undefined) throw new UntranslatableError(node, 'its body gives too few results');
    const value = isList(result) ? stackedElements(result, inside) : result;
    return { value, shape: declaredShape(one) };
  });
  const condition = { value: round.condition, shape: [] };
  const wanted = { name: round.scope.builder.pool.freshName(`${node.name}/condition`), dtype: 'bool' as const, shape: [] };
  const body = graphInside(
    round.scope.builder,
    node,
    [round.counter, wanted, ...round.parameters],
    [condition, ...results, ...scanned.map(({ item }) => ({ value: item, shape: item.shape }))],
  );
  const initials = looped.map(({ one }) => initialTensor(one, context));
  const types = [
    ...looped.map(({ one }) => ({ dtype: one.initial.dtype, shape: declaredShape(one) })),
    ...scanned.map(({ item }) => ({ dtype: item.dtype, shape: item.shape === null ? null : [-1, ...item.shape] })),
  ];
  const made = context.emitMany('Loop', [null, first, ...initials], types, { body: { graph: body } });
  return carried.map((one, index) => {
    if (one.type === 'collected') {
      const items = made[looped.length + scanned.findIndex((other) => other.index === index)];
      return items === undefined ? one.initial : stackedList(completedList(one.initial, one.how, items, context));
    }
    const value = made[looped.findIndex((other) => other.index === index)];
    if (value === undefined) return one.initial;
    return one.type === 'list' ? stackedList(value, one.open) : value;
  });
}

/** Whether a value goes round in the Loop: a list that nothing is ever written to does not. */
function isLooped(one: Carried): boolean {
  return one.type === 'tensor' || (one.type === 'list' && (one.initial.list !== 'unwritten' || one.shape !== null));
}

function declaredShape(one: Carried): StaticShape {
  return one.type === 'tensor' || one.type === 'list' ? one.shape : null;
}

function initialTensor(one: Carried, context: TranslationContext): TypedValue {
  if (!isList(one.initial)) return one.initial;
  if (one.type === 'list' && one.initial.list === 'unwritten') return unwrittenRows(one.initial, one.element, context);
  return stackedElements(one.initial, context);
}

function stackedElements(list: Value, context: TranslationContext): TypedValue {
  if (isList(list) && list.list === 'stacked') return list.elements;
  throw context.unsupported('a list that it carries is never written');
}

function itemOf(node: FlatNode, result: Value | undefined): TypedValue {
  const item = result !== undefined && isList(result) && result.list === 'collected' ? result.items[0] : undefined;
  if (item === undefined) throw new UntranslatableError(node, 'a list was to be written in every round');
  return item;
}
