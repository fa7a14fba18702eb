import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { ServeError } from '#mesh/errors.ts';

/** TF Serving's factor from bytes on disk to bytes in memory. */
const MEMORY_PER_DISK_BYTE = 1.2;
/** The share of the machine's memory that servables may take unless a setting says otherwise. */
const DEFAULT_SHARE = 0.8;

/**
 * What a guarded executor's process is expected to need besides what it loads: 30 MiB of the engine, 55 with onnxruntime (measured). Executors
 * that several servables share are counted for each of them.
 */
export const PROCESS_BYTES = 64 * 2 ** 20;

/** The bytes that one loaded copy of a version folder is expected to need: all files in it, external weights included, times 1.2. */
export async function estimateFolderBytes(folder: string): Promise<number> {
  return estimateBytes(await folderBytes(folder));
}

/** The bytes in memory that so many on disk are expected to need. */
export function estimateBytes(onDisk: number): number {
  return Math.ceil(onDisk * MEMORY_PER_DISK_BYTE);
}

/** The bytes of a SavedModel's assets; 0 without any. */
export async function assetBytes(folder: string): Promise<number> {
  return existsSync(join(folder, 'assets')) ? folderBytes(join(folder, 'assets')) : 0;
}

async function folderBytes(folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) bytes += await folderBytes(path);
    // Follows links: storage in Kubernetes is made of them.
    else {
      const facts = await stat(path);
      if (!facts.isFile() && !facts.isDirectory()) throw new ServeError('FAILED_PRECONDITION', `${path} is neither a file nor a folder`);
      bytes += facts.size;
    }
  }
  return bytes;
}

/** The bytes a worker gives to servables: 80 % of the machine's memory, or of its control group's where that is less. */
export async function defaultMemoryLimitBytes(): Promise<number> {
  const limits = await Promise.all(['/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes'].map(readLimit));
  return Math.floor(Math.min(totalmem(), ...limits) * DEFAULT_SHARE);
}

async function readLimit(path: string): Promise<number> {
  try {
    const limit = Number((await readFile(path, 'utf8')).trim());
    return Number.isFinite(limit) && limit > 0 ? limit : Number.POSITIVE_INFINITY;
  } catch {
    // No such control group: no limit of its own.
    return Number.POSITIVE_INFINITY;
  }
}
