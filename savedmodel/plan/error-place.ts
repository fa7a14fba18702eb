import type { FlatNode } from '../flat-graph.ts';
import type { StoredFunction } from '../graph.ts';

/** Says where TensorFlow places an error of a node, such as `{{function_node F}}{{node N}}`. */
export type ErrorPlaces = (node: FlatNode) => string;

/**
 * Makes the texts. A node keeps the name that it has in its function; the calls that lead there are not named. One of the main graph has its
 * own name alone, as has one that passes have renamed beyond recognition.
 */
export function createErrorPlaces(functions: ReadonlyMap<string, StoredFunction>): ErrorPlaces {
  const namesOf = new Map<string, ReadonlySet<string>>();
  return ({ name: full, function: from }) => {
    // What the inliner appends to a second node of one name.
    const name = full.replace(/#\d+$/, '');
    const stored = from === undefined ? undefined : functions.get(from);
    if (from === undefined || stored === undefined) return `{{node ${name}}}`;
    const names = namesOf.get(from) ?? new Set(stored.nodes.map((one) => one.name));
    namesOf.set(from, names);
    for (let start = 0; start >= 0; start = name.indexOf('/', start) + 1 || -1) {
      const local = name.slice(start);
      if (names.has(local)) return `{{function_node ${from}}}{{node ${local}}}`;
    }
    return `{{node ${name}}}`;
  };
}
