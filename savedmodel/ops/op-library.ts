/** The custom ops of some modules, found by name. */
import type { FunctionOp, KernelOp, OpDefinition } from '../../extend/ops.ts';
import type { OpModule } from './op-modules.ts';

export type { FunctionOp, KernelOp, OpDefinition, OpOutput } from '../../extend/ops.ts';
export type { PartialShape } from '../../extend/tensors.ts';

/** The domain of ops that name none. */
export const DEFAULT_DOMAIN = 'custom';

/** An op, and where it is from. */
export interface LibraryOp<Definition extends OpDefinition = OpDefinition> {
  readonly definition: Definition;
  readonly domain: string;
  readonly module: OpModule;
}

/** Ops by name. */
export interface OpLibraryIndex {
  readonly ops: readonly LibraryOp[];
  /** As SavedModels find it, which have no domains: that of the domain `custom` when several have the name, else the first. */
  byName(name: string): LibraryOp | undefined;
  /** As ONNX models find it. */
  byDomain(domain: string, name: string): LibraryOp | undefined;
}

/** No ops. */
export const NO_OPS: OpLibraryIndex = indexOps([]);

/** Makes an index. Of two ops with the same domain and name the first counts. */
export function indexOps(ops: readonly LibraryOp[]): OpLibraryIndex {
  const byName = new Map<string, LibraryOp>();
  const byDomain = new Map<string, LibraryOp>();
  for (const op of ops) {
    const { name } = op.definition;
    const full = `${op.domain}:${name}`;
    if (byDomain.has(full)) continue;
    byDomain.set(full, op);
    const before = byName.get(name);
    if (before === undefined || (op.domain === DEFAULT_DOMAIN && before.domain !== DEFAULT_DOMAIN)) byName.set(name, op);
  }
  return {
    ops: [...byDomain.values()],
    byName: (name) => byName.get(name),
    byDomain: (domain, name) => byDomain.get(`${domain}:${name}`),
  };
}

/** True for an op that TypeScript computes. */
export function isKernelOp(op: LibraryOp): op is LibraryOp<KernelOp> {
  return op.definition.form === 'kernel';
}

/** True for an op that is made of ONNX's own. */
export function isFunctionOp(op: LibraryOp): op is LibraryOp<FunctionOp> {
  return op.definition.form === 'onnx';
}
