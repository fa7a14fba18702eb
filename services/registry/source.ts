import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ServeError, toServeError } from '#mesh/errors.ts';

/** A version that exists, and where. */
export interface FoundVersion {
  readonly version: number;
  /** The version's folder. Workers must see it under the same path. */
  readonly path: string;
}

/** Says which versions of one model exist. Write your own to find them elsewhere than in a folder. */
export interface VersionSource {
  /**
   * The full list at this moment: what is not in it is gone. Called again at each poll, never twice at once. Rejects with ServeError when it
   * cannot tell; what is loaded then stays.
   */
  find(): Promise<readonly FoundVersion[]>;
}

/** Watches a base path: every sub-folder whose name is a whole number is a version (`00017` is 17). */
export function createFileSystemSource(name: string, basePath: string): VersionSource {
  return {
    async find() {
      let children: readonly string[];
      try {
        children = await readdir(basePath);
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
      for (const child of [...children].sort()) {
        const version = parseVersion(child);
        if (version === undefined) continue;
        const path = join(basePath, child);
        // A child that vanishes between the two looks was never there; a file is not a version.
        const isFolder = await stat(path).then(
          (facts) => facts.isDirectory(),
          () => false,
        );
        // Of `1` and `001` the plain one wins.
        if (isFolder && (!found.has(version) || child === String(version))) found.set(version, { version, path });
      }
      return [...found.values()];
    },
  };
}

/** A fixed list of versions. */
export function createStaticSource(versions: readonly FoundVersion[]): VersionSource {
  return { find: async () => versions };
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
