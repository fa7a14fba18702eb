/** The files of a SavedModel that an import reads, and the digest that names their content. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ServeError } from '#mesh/errors.ts';
import { messageOf } from './system-error.ts';

/** A file that an import reads. */
export interface ImportedFile {
  /** Relative to the SavedModel's folder, with `/`. */
  readonly path: string;
  readonly byteLength: number;
  readonly modifiedMs: number;
}

/** Files below `variables` and `assets` that are looked at: more is no SavedModel. */
const MAX_FILES = 20_000;

/** True for a file, relative to a SavedModel's folder, that an import reads: not for warmup requests, fingerprints and what else lies there. */
export function isImported(path: string): boolean {
  return path === 'saved_model.pb' || path === 'saved_model.pbtxt' || path.startsWith('variables/') || path.startsWith('assets/');
}

/** True when a folder with these entries holds a SavedModel. */
export function holdsSavedModel(names: readonly string[]): boolean {
  return names.includes('saved_model.pb') || names.includes('saved_model.pbtxt');
}

/** Names, sizes and times of the files that an import of the folder reads, in order of path. Rejects with NOT_FOUND when it cannot be read. */
export async function listImportedFiles(folder: string): Promise<readonly ImportedFile[]> {
  const files: ImportedFile[] = [];
  const pending = [''];
  let entries = 0;
  try {
    for (let inside = pending.pop(); inside !== undefined; inside = pending.pop()) {
      for (const child of await readdir(join(folder, inside))) {
        const path = inside === '' ? child : `${inside}/${child}`;
        if (!isImported(path) && !isImported(`${path}/`)) continue;
        if (++entries > MAX_FILES) throw new ServeError('FAILED_PRECONDITION', `${folder} holds more than ${MAX_FILES} files and folders`);
        // Follows links: storage in Kubernetes is made of them.
        const facts = await stat(join(folder, path));
        if (facts.isDirectory()) pending.push(path);
        else if (facts.isFile() && isImported(path)) files.push({ path, byteLength: facts.size, modifiedMs: facts.mtimeMs });
      }
    }
  } catch (cause) {
    if (cause instanceof ServeError) throw cause;
    throw new ServeError('NOT_FOUND', `${folder} cannot be read: ${messageOf(cause)}`, { cause });
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** One file of a version folder. Rejects with NOT_FOUND when it cannot be looked at. */
export async function importedFile(folder: string, path: string): Promise<ImportedFile> {
  try {
    const { size: byteLength, mtimeMs: modifiedMs } = await stat(join(folder, path));
    return { path, byteLength, modifiedMs };
  } catch (cause) {
    throw new ServeError('NOT_FOUND', `${join(folder, path)} cannot be read: ${messageOf(cause)}`, { cause });
  }
}

/** SHA-256 in hex over paths and contents, in chunks: equal for equal SavedModels, wherever they lie. `onRead` hears of the bytes done so far. Rejects with the signal's reason. */
export async function digestFiles(
  folder: string,
  files: readonly Pick<ImportedFile, 'path' | 'byteLength'>[],
  options: { readonly signal: AbortSignal; readonly onRead?: (doneBytes: number) => void },
): Promise<string> {
  const hash = createHash('sha256');
  let doneBytes = 0;
  for (const file of files) {
    options.signal.throwIfAborted();
    hash.update(`${file.path}\0${file.byteLength}\n`);
    for await (const chunk of createReadStream(join(folder, file.path), { highWaterMark: 1 << 20 })) {
      options.signal.throwIfAborted();
      hash.update(chunk as Uint8Array);
      doneBytes += (chunk as Uint8Array).byteLength;
      options.onRead?.(doneBytes);
    }
  }
  return hash.digest('hex');
}

/** True when two listings show the same files, none of them written in between. */
export function sameFiles(before: readonly ImportedFile[], after: readonly ImportedFile[]): boolean {
  return JSON.stringify(before) === JSON.stringify(after);
}
