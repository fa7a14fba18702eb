/**
 * For authors of custom ops, servables, sources and transition policies: all types, from one entry (`headrace/extend`). Types are erased when
 * a module is run, so it needs nothing of Headrace at run time.
 */
export type * from './ops.ts';
export type * from './servables.ts';
export type * from './sources.ts';
export type * from './tensors.ts';
