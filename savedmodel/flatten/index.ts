/** From a MetaGraph to a flat graph: calls inlined, variables bound, constants folded, loops and conditionals recognised, tables found. */
export { bindVariables, restoredKey, type UnboundVariable, type VariableBindings, type VariableSource } from './bind-variables.ts';
export {
  analyzeConditionals,
  type Branch,
  type Conditional,
  type ConditionalAnalysis,
  type ConditionalOptions,
  type ConditionalValue,
} from './conditionals.ts';
export { hostTensorOf, tensorOfHost } from './constant-value.ts';
export { hasEffect } from './effects.ts';
export { FOLDABLE_OPS } from './evaluate.ts';
export { type FlattenOptions, type FunctionGraph, flatten, flattenFunction, servingFetches } from './flatten.ts';
export { type FoldedGraph, type FoldOptions, foldConstants } from './fold.ts';
export { hostAttrsOf } from './host-attrs.ts';
export { initTables, type TableColumn, type TableInit, type TableSource } from './init-tables.ts';
export { analyzeLoops, type CarriedValue, type Loop, type LoopAnalysis, type LoopInvariant } from './loops.ts';
export { isTable, isVariable, originOf, resourceIdentity } from './resources.ts';
export { prepareServing, type ServingGraph } from './serving-graph.ts';
export { staticShape } from './static-shape.ts';
export { topologicalOrder } from './topological.ts';
