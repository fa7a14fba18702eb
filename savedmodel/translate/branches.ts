/** If and Case as ONNX's If. */
import type { Body, FlatNode } from '../flat-graph.ts';
import { graphInside } from './graph-inside.ts';
import { elementShapeOf, isList, stackedList, stackOf, type Value, zeroRows } from './list-value.ts';
import type { Scope } from './scope.ts';
import { commonShape, isFullyKnown, mergeShapes, type StaticShape } from './static-shapes.ts';
import type { TranslationContext, TypedValue } from './translator.ts';
import { UntranslatableError } from './untranslatable.ts';

/** Translates an If node with bodies. */
export function translateIf(node: FlatNode, scope: Scope): readonly Value[] {
  const [then, otherwise] = node.bodies ?? [];
  const [predicate] = node.inputs;
  if (then === undefined || otherwise === undefined || predicate === undefined) throw new UntranslatableError(node, 'it lacks a branch');
  const condition = truth(scope.tensor(predicate, node), scope.builder.at(node, []));
  return choose(node, condition, branch(node, then), branch(node, otherwise), scope);
}

/** Translates a Case node with bodies: an If within the else branch of another. */
export function translateCase(node: FlatNode, scope: Scope): readonly Value[] {
  const [selector] = node.inputs;
  const context = scope.builder.at(node, []);
  if (selector === undefined) throw new UntranslatableError(node, 'it lacks its index');
  const index = scope.tensor(selector, node);
  const from = (place: number, bodies: readonly Body[]): Branch => {
    const [first, ...rest] = bodies;
    if (first === undefined) throw new UntranslatableError(node, 'it lacks a branch');
    if (rest.length === 0) return branch(node, first);
    return (inner) => {
      const known = context.staticInts(index)?.[0];
      const wanted = known === undefined ? null : inner.builder.at(node, []).scalar(known === place ? 1 : 0, 'bool');
      const at = inner.builder.at(node, []);
      const condition = wanted ?? truth(at.binary('Equal', index, at.scalar(place, index.dtype), 'bool'), at);
      return choose(node, condition, branch(node, first), from(place + 1, rest), inner);
    };
  };
  return from(0, node.bodies ?? [])(scope);
}

/** Translates what a branch computes into the scope's graph; gives its results. */
type Branch = (scope: Scope) => readonly Value[];

function branch(node: FlatNode, body: Body): Branch {
  return (scope) => {
    scope.translate(body.nodes);
    return body.results.map((ref) => scope.value(ref, node));
  };
}

/** A scalar as ONNX's If and Loop take it. Numbers are true unless 0. */
export function truth(value: TypedValue, context: TranslationContext): TypedValue {
  if (value.shape !== null && value.shape.length > 0) throw context.unsupported('a condition that is no scalar');
  const isTrue = context.castTo(value, 'bool');
  return isTrue.shape === null ? context.reshape(isTrue, []) : isTrue;
}

function choose(node: FlatNode, condition: TypedValue, then: Branch, otherwise: Branch, scope: Scope): readonly Value[] {
  const context = scope.builder.at(node, []);
  const known = context.staticInts(condition)?.[0];
  if (known !== undefined) return (known === 0 ? otherwise : then)(scope.inner());
  const [left, right] = [scope.inner(scope.builder.inner()), scope.inner(scope.builder.inner())];
  const [lefts, rights] = [then(left), otherwise(right)];
  const places: number[] = [];
  const outputs: (readonly [TypedValue, TypedValue])[] = [];
  lefts.forEach((value, place) => {
    const other = rights[place];
    if (other === undefined) throw new UntranslatableError(node, 'its branches give different numbers of results');
    if (isSame(value, other)) return;
    places.push(place);
    outputs.push([asTensor(value, other, left, node), asTensor(other, value, right, node)]);
  });
  if (outputs.length === 0) return lefts;
  const types = outputs.map(([one, other]) => {
    if (one.dtype !== other.dtype) throw new UntranslatableError(node, `one branch gives ${one.dtype} data, the other ${other.dtype}`);
    return { dtype: one.dtype, shape: commonShape(one.shape, other.shape) };
  });
  const graph = (inner: Scope, values: readonly TypedValue[]) => ({
    graph: graphInside(
      inner.builder,
      node,
      [],
      values.map((value, index) => ({ value, shape: types[index]?.shape ?? null })),
    ),
  });
  const attributes = {
    then_branch: graph(
      left,
      outputs.map(([one]) => one),
    ),
    else_branch: graph(
      right,
      outputs.map(([, other]) => other),
    ),
  };
  const made = context.emitMany('If', [condition], types, attributes);
  return lefts.map((value, place) => {
    const result = made[places.indexOf(place)];
    if (result === undefined) return value;
    return isList(value) ? stackedList(result, isOpen(value) || isOpen(rights[place])) : result;
  });
}

function isOpen(value: Value | undefined): boolean {
  if (value === undefined || !isList(value)) return false;
  return value.list === 'unwritten' ? !isFullyKnown(value.element) : value.list === 'stacked' && value.open;
}

/** Whether both branches hand on the same value of the graph around. */
function isSame(left: Value, right: Value): boolean {
  if (left === right) return true;
  return !isList(left) && !isList(right) && left.name === right.name;
}

/** A result as the tensor that leaves the branch; a list that nothing was written to takes the element's shape from the other branch's. */
function asTensor(value: Value, other: Value, scope: Scope, node: FlatNode): TypedValue {
  const context = scope.builder.at(node, []);
  if (!isList(value)) {
    if (isList(other)) throw new UntranslatableError(node, 'one branch gives a list, the other a tensor');
    return value;
  }
  if (!isList(other)) throw new UntranslatableError(node, 'one branch gives a list, the other a tensor');
  if (value.list !== 'unwritten') return stackOf(value, null, context);
  return unwrittenRows(value, elementShapeOf(other), context);
}

/** Zeros for a list that nothing was written to; sizes of elements that nobody knows are 0. */
export function unwrittenRows(
  list: Extract<Value, { readonly list: 'unwritten' }>,
  known: StaticShape,
  context: TranslationContext,
): TypedValue {
  const shape = mergeShapes(list.element, known)?.map((size) => Math.max(0, size)) ?? null;
  if (shape === null) throw context.unsupported("the rank of the list's elements must be known");
  return zeroRows(list.dtype, context.toInt64Vector(list.count), context.int64s(shape), shape, context);
}
