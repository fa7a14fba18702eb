import { createHash } from 'node:crypto';
import type { Stats } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ServeError } from '#mesh/errors.ts';

/** A file below a version folder. */
export interface FolderFile {
  /** Relative to the folder. */
  readonly path: string;
  readonly byteLength: number;
  readonly modifiedMs: number;
}

/** Entries of a version folder that are looked at: a folder with more is not a model. */
const MAX_ENTRIES = 20_000;

/**
 * Names, sizes and times of all files below a folder, in order of path; of a file itself, by an empty name. Rejects with FAILED_PRECONDITION when there are too many, or something
 * that cannot be read as a file.
 */
export async function listFolder(folder: string): Promise<readonly FolderFile[]> {
  const files: FolderFile[] = [];
  let entries = 0;
  const pending = [''];
  for (let inside = pending.pop(); inside !== undefined; inside = pending.pop()) {
    const children = await childrenOf(folder, inside);
    if (children === undefined) {
      const own = await stat(folder);
      return [{ path: '', byteLength: own.size, modifiedMs: own.mtimeMs }];
    }
    for (const child of children) {
      if (++entries > MAX_ENTRIES)
        throw new ServeError('FAILED_PRECONDITION', `${folder} holds more than ${MAX_ENTRIES} files and folders`);
      const path = join(inside, child);
      // Follows links: Kubernetes mounts are made of them. A ring of links ends at MAX_ENTRIES.
      const facts = await factsOf(join(folder, path));
      if (facts.isDirectory()) pending.push(path);
      // Reading a pipe or a device may take for ever.
      else if (!facts.isFile()) throw new ServeError('FAILED_PRECONDITION', `${join(folder, path)} is neither a file nor a folder`);
      else files.push({ path, byteLength: facts.size, modifiedMs: facts.mtimeMs });
    }
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** The names in a folder; undefined where `folder` itself is a file. */
async function childrenOf(folder: string, inside: string): Promise<readonly string[] | undefined> {
  try {
    return await readdir(join(folder, inside));
  } catch (caught) {
    if (inside === '' && (caught as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined;
    throw caught;
  }
}

async function factsOf(path: string): Promise<Stats> {
  try {
    return await stat(path);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ServeError('FAILED_PRECONDITION', `${path} cannot be looked at: ${why}`, { cause });
  }
}

/** A short text that changes when a file is added, removed, resized or written. It does not read the files. */
export function fingerprintOf(files: readonly FolderFile[]): string {
  const hash = createHash('sha256');
  for (const { path, byteLength, modifiedMs } of files) hash.update(`${path}\0${byteLength}\0${modifiedMs}\n`);
  return hash.digest('hex').slice(0, 32);
}
