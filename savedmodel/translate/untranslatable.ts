/** The error of a node that ONNX cannot express. */
import { ServeError } from '#mesh/errors.ts';
import type { FlatNode } from '../flat-graph.ts';

/** UNIMPLEMENTED: a node has no translation. A planner that sees it runs that node, or the loop or branch around it, on the host. */
export class UntranslatableError extends ServeError {
  /** The node itself: of those in the bodies of loops and branches the innermost. */
  readonly node: FlatNode;

  constructor(node: FlatNode, reason: string, options?: { readonly cause?: unknown }) {
    super('UNIMPLEMENTED', `cannot translate ${node.op} node ${node.name}: ${reason}`, options);
    this.node = node;
  }
}

/** Runs a translator of `node`; whatever it throws as UNIMPLEMENTED comes out as an UntranslatableError. */
export function naming<T>(node: FlatNode, translate: () => T): T {
  try {
    return translate();
  } catch (caught) {
    if (!(caught instanceof ServeError) || caught.code !== 'UNIMPLEMENTED' || caught instanceof UntranslatableError) throw caught;
    throw new UntranslatableError(node, caught.message, { cause: caught });
  }
}
