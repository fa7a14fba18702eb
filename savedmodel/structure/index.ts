/** From a flat graph to a structured one: While, If and Case with bodies instead of functions, frames, Switch, Merge and TensorArrays. */
export { capturesOf } from './regions.ts';
export { type StructuredGraph, type StructureOptions, structureGraph } from './structure-graph.ts';
