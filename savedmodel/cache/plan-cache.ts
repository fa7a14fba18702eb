/**
 * A folder of plans, each under its address: the result of an import, for every process that sees the folder. An entry appears by one rename
 * and is never changed, so that importers in several processes may race: one wins, and the others use what it made.
 *
 * What an entry is used for cannot be known from another process, so whoever holds one touches it now and then, and nobody evicts what was
 * touched lately.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Timer } from '#mesh/clock.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import { codeOf, isDiskFull, messageOf } from './system-error.ts';

/** A plan that stays where it is until it is disposed. */
export interface HeldPlan extends Disposable {
  readonly address: string;
  /** The plan's folder. It must not be changed. */
  readonly folder: string;
  /** Of all files in it. */
  readonly byteLength: number;
}

/** Where plans are kept. */
export interface PlanCache extends Disposable {
  /** The plan at an address; null when there is none. One that is damaged is removed. */
  find(address: string): Promise<HeldPlan | null>;
  /**
   * The plan at an address, made by `make` in an empty folder when there is none. Callers of one process that ask for the same address share
   * one `make`. Rejects with what `make` rejects with, with the signal's reason, or with RESOURCE_EXHAUSTED when the disk is full; nothing is
   * left behind then.
   */
  obtain(address: string, signal: AbortSignal, make: (folder: string) => Promise<void>): Promise<HeldPlan>;
}

/** What a cache is made with. */
export interface PlanCacheOptions {
  /** Made when it is not there. */
  readonly folder: string;
  /** Plans that were not used for the longest time leave when all together are larger; 0: no limit. */
  readonly maxBytes: number;
  readonly clock: Clock;
  /** Rejects for a plan that cannot be run. */
  readonly check: (folder: string) => Promise<unknown>;
}

/** Lists the files of an entry with their sizes. Written last: an entry without it is not whole. */
const CONTENTS_FILE = 'contents.json';
const BEING_MADE = '.making';
/** Names of this cache's own entries: nothing else in the folder is touched, whatever folder it was given. */
const ENTRY = /^[0-9a-f]{40}$/;
const ENTRY_BEING_MADE = /^[0-9a-f]{40}\.making-/;
/** An entry that is held is touched this often. */
const TOUCH_MS = 60_000;
/** An entry that was touched within this time may be in use by another process. */
const IN_USE_MS = 5 * 60_000;
/** Nobody makes a plan for longer than this: what is older is left over from a process that died. */
const LEFT_OVER_MS = 2 * 60 * 60_000;

interface Entry {
  readonly address: string;
  readonly byteLength: number;
  readonly usedMs: number;
}

/** Makes a cache over a folder. Does no I/O. */
export function createPlanCache({ folder, maxBytes, clock, check }: PlanCacheOptions): PlanCache {
  const holders = new Map<string, number>();
  const making = new Map<string, Promise<unknown>>();
  let touching: Timer | undefined;
  let closed = false;

  const folderOf = (address: string) => join(folder, address);

  /** A folder that is mounted for reading only cannot be touched; its owner then decides what stays. */
  async function touch(address: string): Promise<void> {
    const seconds = clock.wallNow() / 1000;
    await utimes(folderOf(address), seconds, seconds).catch(() => {});
  }

  function touchAgain(): void {
    if (closed || holders.size === 0) return;
    touching ??= clock.schedule(TOUCH_MS, () => {
      touching = undefined;
      for (const address of holders.keys()) void touch(address);
      touchAgain();
    });
  }

  function hold(address: string, byteLength: number): HeldPlan {
    holders.set(address, (holders.get(address) ?? 0) + 1);
    touchAgain();
    let held = true;
    return {
      address,
      byteLength,
      folder: folderOf(address),
      [Symbol.dispose]() {
        if (!held) return;
        held = false;
        const left = (holders.get(address) ?? 1) - 1;
        if (left > 0) holders.set(address, left);
        else holders.delete(address);
      },
    };
  }

  async function find(address: string): Promise<HeldPlan | null> {
    const path = folderOf(address);
    let byteLength: number;
    try {
      byteLength = await byteLengthOf(path);
    } catch {
      return null;
    }
    // Held before it is looked at: this process could evict it in between.
    const held = hold(address, byteLength);
    try {
      // Touched before it is looked at: another process could evict it in between.
      await touch(address);
      await checkContents(path);
      await check(path);
      return held;
    } catch {
      held[Symbol.dispose]();
      await remove(address);
      return null;
    }
  }

  /** Takes an entry out of sight first, so that nobody finds half of it. */
  async function remove(address: string): Promise<void> {
    const aside = join(folder, `${address}${BEING_MADE}-${randomUUID()}`);
    try {
      await rename(folderOf(address), aside);
    } catch (caught) {
      // Somebody else was faster. Anything else would have the same entry found again and again.
      if (codeOf(caught) === 'ENOENT') return;
      throw new ServeError('FAILED_PRECONDITION', `the damaged plan ${folderOf(address)} cannot be removed: ${messageOf(caught)}`, {
        cause: caught,
      });
    }
    await rm(aside, { recursive: true, force: true });
  }

  async function makeEntry(address: string, make: (folder: string) => Promise<void>): Promise<void> {
    await openFolder();
    const path = join(folder, `${address}${BEING_MADE}-${randomUUID()}`);
    try {
      await mkdir(path);
      await make(path);
      await writeContents(path);
      await rename(path, folderOf(address)).catch((caught) => {
        // Another process had it first, and it is as good as ours.
        if (codeOf(caught) !== 'ENOTEMPTY' && codeOf(caught) !== 'EEXIST') throw caught;
      });
    } finally {
      await rm(path, { recursive: true, force: true });
    }
  }

  async function openFolder(): Promise<void> {
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
    } catch (cause) {
      if (isDiskFull(cause)) throw cause;
      throw new ServeError(
        'FAILED_PRECONDITION',
        `the import cache ${folder} cannot be made: ${messageOf(cause)} (--import_cache_dir names another)`,
        { cause },
      );
    }
  }

  async function makeWithRoom(address: string, make: (folder: string) => Promise<void>): Promise<void> {
    try {
      return await makeEntry(address, make);
    } catch (caught) {
      if (!isDiskFull(caught)) throw caught;
    }
    // What nobody uses may have filled the disk: once more without it.
    await evict(0, address);
    try {
      await makeEntry(address, make);
    } catch (cause) {
      if (!isDiskFull(cause)) throw cause;
      throw new ServeError(
        'RESOURCE_EXHAUSTED',
        `the disk of the import cache ${folder} is full: ${messageOf(cause)}; free some of it or set --import_cache_dir or --import_cache_max_bytes`,
        { cause },
      );
    }
  }

  /** Removes entries, least recently used first, until the rest takes `limitBytes` at most; those in use and `spared` stay. */
  async function evict(limitBytes: number, spared: string): Promise<void> {
    const now = clock.wallNow();
    const entries: Entry[] = [];
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      try {
        const usedMs = (await stat(path)).mtimeMs;
        if (ENTRY.test(name)) entries.push({ address: name, byteLength: await byteLengthOf(path), usedMs });
        else if (ENTRY_BEING_MADE.test(name) && now - usedMs > LEFT_OVER_MS) await rm(path, { recursive: true, force: true });
      } catch {
        // Another process removed it while it was looked at.
      }
    }
    let bytes = entries.reduce((sum, entry) => sum + entry.byteLength, 0);
    for (const entry of entries.sort((a, b) => a.usedMs - b.usedMs)) {
      if (bytes <= limitBytes) return;
      if (entry.address === spared || holders.has(entry.address) || now - entry.usedMs < IN_USE_MS) continue;
      try {
        await remove(entry.address);
        bytes -= entry.byteLength;
      } catch {
        // It stays until the next import tries again.
      }
    }
  }

  return {
    find,
    async obtain(address, signal, make) {
      for (;;) {
        signal.throwIfAborted();
        const found = await find(address);
        if (found !== null) return found;
        const other = making.get(address);
        if (other !== undefined) {
          // It fails for this caller as it failed for that one, unless only that one gave up.
          const failure = await unlessAborted(other, signal);
          if (failure !== undefined && toServeError(failure).code !== 'CANCELLED') throw failure;
          continue;
        }
        const mine = makeWithRoom(address, make).then(
          () => undefined,
          (caught: unknown) => caught ?? new ServeError('INTERNAL', 'an import failed without a reason'),
        );
        making.set(address, mine);
        const failure = await mine;
        making.delete(address);
        signal.throwIfAborted();
        if (failure !== undefined) throw failure;
        const made = await find(address);
        if (made === null) throw new ServeError('INTERNAL', `the plan that was made at ${folderOf(address)} cannot be run (this is a bug)`);
        if (maxBytes > 0) await evict(maxBytes, address);
        return made;
      }
    },
    [Symbol.dispose]() {
      closed = true;
      touching?.[Symbol.dispose]();
    },
  };
}

/** What the promise resolves with; rejects with the signal's reason as soon as it aborts. */
function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason);
    if (signal.aborted) return leave();
    signal.addEventListener('abort', leave, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave));
  });
}

async function writeContents(folder: string): Promise<void> {
  const sizes: Record<string, number> = {};
  for (const name of (await readdir(folder)).sort()) sizes[name] = (await stat(join(folder, name))).size;
  await writeFile(join(folder, CONTENTS_FILE), JSON.stringify(sizes));
}

/** Rejects unless every file is there with the size it was written with. */
async function checkContents(folder: string): Promise<void> {
  const sizes = JSON.parse(await readFile(join(folder, CONTENTS_FILE), 'utf8')) as Readonly<Record<string, number>>;
  for (const [name, size] of Object.entries(sizes)) {
    const found = (await stat(join(folder, name))).size;
    if (found !== size) throw new ServeError('DATA_LOSS', `${join(folder, name)} has ${found} bytes, ${size} were written`);
  }
}

async function byteLengthOf(folder: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(folder)) bytes += (await stat(join(folder, name))).size;
  return bytes;
}
