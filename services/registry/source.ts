import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ServeError, toServeError } from '#mesh/errors.ts';
import type { FoundVersion, PolledSource } from '../../extend/sources.ts';

/**
 * Watches a base path: every sub-folder whose name is a whole number is a version (`00017` is 17). It is a source like those of authors, but for
 * the thread: it waits for the file system only. Its failures are ServeErrors in TF Serving's words. `files`: a file with such a name is a
 * version too; what a version is, is then a servable module's to say.
 */
export function createFileSystemSource(name: string, basePath: string, { files = false }: { readonly files?: boolean } = {}): PolledSource {
  return {
    async find() {
      let children: readonly Dirent[];
      try {
        children = await readdir(basePath, { withFileTypes: true });
      } catch (caught) {
        throw new ServeError(
          'NOT_FOUND',
          `Could not find base path ${basePath} for servable ${name} with error ${reasonOf(caught, basePath)}`,
          {
            cause: caught,
          },
        );
      }
      const found = new Map<number, FoundVersion>();
      for (const entry of [...children].sort((a, b) => (a.name < b.name ? -1 : 1))) {
        const { name: child } = entry;
        const version = parseVersion(child);
        if (version === undefined) continue;
        const path = join(basePath, child);
        // What the listing says needs no second look; a link is followed, and one that leads nowhere was never there.
        const facts = entry.isDirectory() || entry.isFile() ? entry : await stat(path).catch(() => null);
        const isVersion = facts?.isDirectory() || (files && facts?.isFile());
        // Of `1` and `001` the plain one wins.
        if (isVersion && (!found.has(version) || child === String(version))) found.set(version, { version, path });
      }
      return [...found.values()];
    },
  };
}

/** Stands for a module that this registry does not have, while the stored configuration names it: what is loaded stays. */
export function createMissingSource(basePath: string, module: string): PolledSource {
  return {
    find() {
      throw new ServeError('FAILED_PRECONDITION', `base path ${basePath}: --source_modules has no module named ${module}`);
    },
  };
}

/** TF Serving's words for a base path without versions. */
export function noVersionsText(name: string, basePath: string): string {
  return `No versions of servable ${name} found under base path ${basePath}. Did you forget to name your leaf directory as a number (eg. '/1/')?`;
}

function parseVersion(child: string): number | undefined {
  if (!/^\d+$/.test(child)) return undefined;
  const version = Number(child);
  return Number.isSafeInteger(version) ? version : undefined;
}

function reasonOf(caught: unknown, path: string): string {
  const code = typeof caught === 'object' && caught !== null && 'code' in caught ? caught.code : undefined;
  if (code === 'ENOENT') return `NOT_FOUND: ${path} not found`;
  if (code === 'ENOTDIR') return `FAILED_PRECONDITION: ${path} is not a folder`;
  return toServeError(caught).message;
}
