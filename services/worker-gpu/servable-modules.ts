/** Kinds of servables that are modules: the ones that come with Headrace, and those of `--servable_modules`. */
import { stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { AssignedServable } from '#mesh/control.ts';
import { ServeError } from '#mesh/errors.ts';
import { servableKey } from '#mesh/ids.ts';
import { parseServableModules, type ServableModule, SHIPPED_SERVABLES } from '#mesh/servable-module-settings.ts';
import { findOpModules, moduleUrl } from '../../savedmodel/ops/op-modules.ts';
import { type EstimateLimits, estimateInProcess } from './estimate-in-process.ts';
import type { Platform } from './platforms.ts';
import type { UserModule } from './runtime.ts';

/** The modules that a setting names, and before them those that come with Headrace and are not replaced. Throws SettingError. */
export function servableModules(setting: string): readonly ServableModule[] {
  const own = parseServableModules(setting);
  const shipped = SHIPPED_SERVABLES.filter((name) => !own.some((module) => module.name === name));
  return [...shipped.map((name) => ({ name, file: fileURLToPath(new URL(`${name}.ts`, SHIPPED_FOLDER)) })), ...own];
}

const SHIPPED_FOLDER = new URL('../../examples/custom-servables/', import.meta.url);

/** The platform of a module. Its versions are loaded by that module, whatever files they have. */
export function servablePlatform({ name, file }: ServableModule, limits: EstimateLimits): Platform {
  const estimates = new Map<string, { readonly of: string; readonly bytes: number }>();

  async function estimate(assigned: AssignedServable, module: UserModule, signal: AbortSignal): Promise<number> {
    const key = servableKey(assigned.id);
    const of = `${assigned.generation} ${assigned.path} ${module.url}`;
    const known = estimates.get(key);
    if (known?.of === of) return known.bytes;
    const bytes = await estimateInProcess({ module, path: assigned.path, servable: assigned.id }, signal, limits);
    estimates.set(key, { of, bytes });
    return bytes;
  }

  return {
    name,
    runtime: new URL('./runtimes/custom.ts', import.meta.url).href,
    recognises: () => false,
    byNameAlone: true,
    // A module that has changed gets executors of its own: what it shares with nobody cannot be of another state of it.
    userCode: async (_, prepared) => ({ group: `servables:${prepared?.module?.url ?? name}`, names: [`servable module ${name}`] }),
    async prepare(assigned, signal) {
      await stat(assigned.path).catch((cause) => {
        throw new ServeError('NOT_FOUND', `${assigned.path} is not there`, { cause });
      });
      const module = await userModule({ name, file });
      const memoryBytes = await estimate(assigned, module, signal);
      return { folder: assigned.path, byteLength: memoryBytes, memoryBytes, stateful: false, module, [Symbol.dispose]() {} };
    },
  };
}

/** A module as executors import it: a change of the file, or of one that it imports by a relative path, makes it another one. Rejects with NOT_FOUND. */
async function userModule({ name, file }: ServableModule): Promise<UserModule> {
  await stat(file).catch((cause) => {
    throw new ServeError('NOT_FOUND', `${file}, the servable module ${name}, is not there`, { cause });
  });
  const [found] = await findOpModules([file]);
  if (found === undefined) throw new ServeError('NOT_FOUND', `${file}, the servable module ${name}, is not there`);
  return { name, url: moduleUrl(found) };
}
