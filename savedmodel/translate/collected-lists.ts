/** Lists that a loop makes one item per round. */
import type { FlatNode } from '../flat-graph.ts';
import type { Collecting } from './body-patterns.ts';
import { countOf, firstSize, innerSizes, isList, type ListValue, zeroRows } from './list-value.ts';
import type { Scope } from './scope.ts';
import type { TranslationContext, TypedValue } from './translator.ts';

/** Whether a carried value is the integer 0 before the first round. */
export function startsAtZero(node: FlatNode, index: number, scope: Scope): boolean {
  const ref = node.inputs[index];
  if (ref === undefined) return false;
  const value = scope.value(ref, node);
  return !isList(value) && value.shape?.length === 0 && scope.builder.at(node, []).staticInts(value)?.[0] === 0;
}

/**
 * The list after the loop, out of what it was before and the items of all rounds [rounds, ...element]: what it had at the places that the
 * loop did not come to stays behind them; what items were pushed to stays before them.
 */
export function completedList(initial: ListValue, how: Collecting, items: TypedValue, context: TranslationContext): TypedValue {
  const inner = items.shape?.slice(1) ?? null;
  const joined = (parts: readonly TypedValue[], count = -1) => {
    const shape = inner === null ? null : [count, ...inner];
    return context.compute('Concat', parts, { dtype: items.dtype, shape }, { axis: 0 });
  };
  if (how.type === 'push') return initial.list === 'stacked' ? joined([initial.elements, items]) : items;
  const rounds = firstSize(items, context);
  if (initial.list === 'stacked') {
    const shape = initial.elements.shape === null ? null : [-1, ...initial.elements.shape.slice(1)];
    const bounds = [rounds, context.int64s([Number.MAX_SAFE_INTEGER]), context.int64s([0])];
    const rest = context.compute('Slice', [initial.elements], { dtype: items.dtype, shape }, undefined, bounds);
    return joined([items, rest]);
  }
  const count = context.toInt64Vector(countOf(initial, context));
  const missing = context.binary('Max', context.binary('Sub', count, rounds), context.int64s([0]));
  const zeros = zeroRows(items.dtype, missing, innerSizes(items, context), inner, context);
  return joined([items, zeros], context.staticInts(count)?.[0]);
}
