import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A file system of its own that is soon full. Disposing unmounts it. */
export interface SmallDisk extends Disposable {
  readonly folder: string;
  /** Fills it to the last byte. */
  fill(): void;
  /** Gives that room back. */
  free(): void;
}

const MEGABYTES = 32;

/** Why no small file system can be mounted here, in words; undefined where one can. */
export function smallDiskTrouble(): string | undefined {
  const mounted = mountSmallDisk();
  if (typeof mounted === 'string') return mounted;
  mounted[Symbol.dispose]();
  return undefined;
}

/** Mounts a small tmpfs; the reason in words where that cannot be done. */
export function mountSmallDisk(): SmallDisk | string {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'a small file system can be mounted only by root on Linux';
  const folder = mkdtempSync(join(tmpdir(), 'headrace-small-disk-'));
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${MEGABYTES}m`, 'tmpfs', folder], { encoding: 'utf8' });
  if (status !== 0) {
    rmSync(folder, { recursive: true });
    return `a small file system cannot be mounted here: ${stderr.trim()}`;
  }
  const filler = join(folder, 'filler');
  return {
    folder,
    fill() {
      for (let bytes = MEGABYTES * 2 ** 20; bytes >= 1; bytes = Math.floor(bytes / 2)) {
        try {
          for (;;) writeFileSync(filler, Buffer.alloc(bytes), { flag: 'a' });
        } catch (caught) {
          // Jest gives its tests another Error than Node's own modules throw.
          if ((caught as NodeJS.ErrnoException).code !== 'ENOSPC') throw caught;
        }
      }
    },
    free: () => rmSync(filler, { force: true }),
    [Symbol.dispose]() {
      spawnSync('umount', ['-l', folder]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
