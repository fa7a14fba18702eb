/** Modules of servables: how they are imported, and what their errors are to a client. */
import { fileURLToPath } from 'node:url';
import { ServeError, STATUS, type StatusCode } from '#mesh/errors.ts';
import type { ServableAdapter } from '../../../extend/servables.ts';
import type { UserModule } from '../runtime.ts';

/** Imports a module and gives its source adapter. Rejects with INVALID_ARGUMENT that names the file. */
export async function importAdapter(module: UserModule): Promise<ServableAdapter> {
  const file = fileURLToPath(module.url);
  let imported: { readonly default?: unknown };
  try {
    imported = await import(module.url);
  } catch (cause) {
    throw new ServeError('INVALID_ARGUMENT', `${file}, the servable module ${module.name}, cannot be imported: ${textOf(cause)}`, {
      cause,
    });
  }
  if (typeof imported.default !== 'function') {
    throw new ServeError('INVALID_ARGUMENT', `${file}, the servable module ${module.name}, has no default export that is a function`);
  }
  return imported.default as ServableAdapter;
}

/**
 * What user code threw, as a client sees it: an Error whose `code` is a status code's name as it is, anything else as INTERNAL with the
 * module's name.
 */
export function userError(module: UserModule, doing: string, caught: unknown): ServeError {
  if (caught instanceof ServeError) return caught;
  const code = typeof caught === 'object' && caught !== null && 'code' in caught ? caught.code : undefined;
  if (typeof code === 'string' && Object.hasOwn(STATUS, code)) return new ServeError(code as StatusCode, textOf(caught), { cause: caught });
  return new ServeError('INTERNAL', `servable module ${module.name} failed ${doing}: ${textOf(caught)}`, { cause: caught });
}

function textOf(caught: unknown): string {
  return caught instanceof Error ? caught.message : String(caught);
}
