import { GraphBuilder } from './graph.ts';
import type { BenchModel } from './nets.ts';

const ENTRIES = 131_072;
const WIDTH = 64;

/** A table of 32 MiB of which a request reads one row and sums it: dear to load, cheap to run. */
export const LOOKUP: BenchModel = {
  name: 'lookup',
  what: 'a sum over one row of a table of 32 MiB',
  input: { name: 'id', dtype: 'int64', rowShape: [] },
  bound: ENTRIES,
  build() {
    const graph = new GraphBuilder(5);
    const row = graph.node('Gather', [graph.weights([ENTRIES, WIDTH], WIDTH), 'id']);
    const y = graph.node('ReduceMean', [row], { axes: [1], keepdims: 0 });
    return graph.finish('lookup', [{ name: 'id', dtype: 'int64', shape: ['N'] }], { name: 'y', dtype: 'float', shape: ['N'] }, y);
  },
};
