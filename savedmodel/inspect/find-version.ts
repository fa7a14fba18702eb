/** Which version's folder is meant by a path: that of a version, or a base path with numbered versions. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ServeError } from '#mesh/errors.ts';
import { unreadable } from '../read/unreadable.ts';

/** A folder with a model in it. */
export interface ModelFolder {
  readonly folder: string;
  readonly kind: 'savedmodel' | 'onnx';
  /** When a base path was given: the version that was chosen, and all there are, in ascending order. */
  readonly version: { readonly chosen: number; readonly all: readonly number[] } | null;
}

/**
 * The model at `path`: of a base path its newest version. Throws NOT_FOUND where there is neither a SavedModel nor an ONNX file, nor a
 * numbered folder.
 */
export async function findModelFolder(path: string): Promise<ModelFolder> {
  const entries = await namesIn(path);
  const kind = kindOf(entries);
  if (kind !== null) return { folder: path, kind, version: null };
  const versions = entries.filter((name) => /^\d+$/.test(name)).sort((one, other) => Number(one) - Number(other));
  const newest = versions.at(-1);
  if (newest === undefined) {
    throw new ServeError('NOT_FOUND', `${path} has no saved_model.pb, saved_model.pbtxt or .onnx file, and no folder named as a version`);
  }
  const folder = join(path, newest);
  const newestKind = kindOf(await namesIn(folder));
  if (newestKind === null) {
    throw new ServeError('NOT_FOUND', `${folder}, the newest version in ${path}, has no saved_model.pb, saved_model.pbtxt or .onnx file`);
  }
  return { folder, kind: newestKind, version: { chosen: Number(newest), all: versions.map(Number) } };
}

function kindOf(entries: readonly string[]): ModelFolder['kind'] | null {
  if (entries.some((name) => /^saved_model\.(pb|pbtxt|cpb)$/.test(name))) return 'savedmodel';
  return entries.some((name) => name.endsWith('.onnx') || name === 'signatures.json') ? 'onnx' : null;
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (caught) {
    throw unreadable(folder, caught);
  }
}
