/** The kernels that a plan runs, on the executor that runs them. */
import { ServeError } from '#mesh/errors.ts';
import type { HostKernel } from '../host-value.ts';
import type { Plan } from '../plan/plan.ts';
import { customKernel } from './custom-kernel.ts';
import { loadOpLibrary } from './load-op-library.ts';
import { isKernelOp } from './op-library.ts';
import type { OpModule } from './op-modules.ts';

/**
 * Imports the modules and takes from them the kernels of a plan's custom ops, by name and by `domain.name`. `enter` is told before a kernel runs and after it. Rejects with what
 * `loadOpLibrary` rejects with, or FAILED_PRECONDITION when a module has changed since the plan was made and lacks the kernel.
 */
export async function loadKernels(
  plan: Plan,
  modules: readonly OpModule[],
  enter: (name: string | undefined) => void,
): Promise<ReadonlyMap<string, HostKernel>> {
  const wanted = (plan.ops ?? []).filter(({ form }) => form === 'kernel');
  const kernels = new Map<string, HostKernel>();
  if (wanted.length === 0) return kernels;
  const library = await loadOpLibrary({ model: modules, configured: [] });
  for (const { name, domain } of wanted) {
    const found = library.byDomain(domain, name);
    if (found === undefined || !isKernelOp(found)) {
      throw new ServeError(
        'FAILED_PRECONDITION',
        `no kernel of the custom op ${name} is in ${modules.map(({ path }) => path).join(', ')} any more`,
      );
    }
    const kernel = customKernel(found.definition);
    const counted: HostKernel = (inputs, attrs) => {
      enter(`op ${name}`);
      // What throws is left without saying so: the failure is put down to the op.
      const results = kernel(inputs, attrs);
      enter(undefined);
      return results;
    };
    // SavedModels have no domains.
    for (const key of [name, `${domain}.${name}`]) kernels.set(key, counted);
  }
  return kernels;
}
