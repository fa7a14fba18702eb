import type { AssignedServable } from '#mesh/control.ts';
import { ServeError } from '#mesh/errors.ts';
import type { PlanStore } from '../../savedmodel/cache/plan-store.ts';
import type { OpModule } from '../../savedmodel/ops/op-modules.ts';
import type { Plan } from '../../savedmodel/plan/plan.ts';
import { readPlan } from '../../savedmodel/plan/run/read-plan.ts';
import { assetBytes } from './memory.ts';
import type { CustomKernels, Prepared } from './platforms.ts';

/** The MetaGraph that TF Serving takes unless told otherwise. */
const DEFAULT_TAGS = ['serve'];

/**
 * The plan of an assigned SavedModel: what a registry imported, where this worker shares its cache, else imported here. Rejects as
 * `PlanStore.obtain`.
 */
export async function preparePlan(plans: PlanStore, assigned: AssignedServable, signal: AbortSignal): Promise<Prepared> {
  const { path, imported } = assigned;
  const wanted = { folder: path, digest: imported?.digest ?? '', tags: imported?.tags ?? DEFAULT_TAGS };
  const held = await plans.obtain(wanted, { signal, onProgress: () => {} });
  try {
    const plan = await readPlan(held.folder);
    const kernels = kernelsOf(plan, held.modules);
    return {
      folder: held.folder,
      // Tables are filled from files below the SavedModel's assets.
      byteLength: held.byteLength + (plan.tables.length > 0 ? await assetBytes(path) : 0),
      stateful: Object.values(plan.signatures).some((signature) => signature.stateful),
      ...(kernels === null ? {} : { kernels }),
      [Symbol.dispose]: () => held[Symbol.dispose](),
    };
  } catch (caught) {
    held[Symbol.dispose]();
    throw caught;
  }
}

/** The kernels that a plan runs and the modules that have them; null without any. Throws FAILED_PRECONDITION when a module is not there any more. */
export function kernelsOf(plan: Plan, modules: readonly OpModule[]): CustomKernels | null {
  const kernels = (plan.ops ?? []).filter(({ form }) => form === 'kernel');
  if (kernels.length === 0) return null;
  const needed = new Map<string, OpModule>();
  for (const { name, module: digest } of kernels) {
    const found = modules.find((module) => module.digest === digest);
    if (found === undefined) {
      throw new ServeError(
        'FAILED_PRECONDITION',
        `the module of the custom op ${name} is not among those of --op_library (it was when the model was imported)`,
      );
    }
    needed.set(digest, found);
  }
  return { ops: kernels.map(({ name }) => name), modules: [...needed.values()] };
}
