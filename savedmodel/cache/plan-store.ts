import type { Clock } from '#mesh/clock.ts';
import { ServeError } from '#mesh/errors.ts';
import { readPlan } from '../plan/run/read-plan.ts';
import { importInThread } from './import-in-thread.ts';
import { digestFiles, listImportedFiles, sameFiles } from './imported-files.ts';
import { planAddress } from './plan-address.ts';
import { createPlanCache, type HeldPlan } from './plan-cache.ts';

/** Which plan is wanted. */
export interface PlanWanted {
  /** The SavedModel's folder, as this process sees it. It is read only when the plan is not in the cache. */
  readonly folder: string;
  /** Of its content, as somebody found it: see `digestFiles`. Empty: it is found out. */
  readonly digest: string;
  readonly tags: readonly string[];
}

/** Plans by what they are made of: from the cache, or imported. */
export interface PlanStore extends Disposable {
  /**
   * Rejects with the importer's ServeError when the SavedModel cannot be served, ABORTED when it changes meanwhile, RESOURCE_EXHAUSTED when the
   * cache's disk is full, or the signal's reason.
   */
  obtain(
    wanted: PlanWanted,
    options: { readonly signal: AbortSignal; readonly onProgress: (percent: number, doing: string) => void },
  ): Promise<HeldPlan>;
}

/** What an import came to. */
export interface ImportFacts {
  /** The SavedModel's. */
  readonly folder: string;
  readonly tookMs: number;
  /** Of the plan. */
  readonly byteLength: number;
}

/** What a store is made with. */
export interface PlanStoreOptions {
  readonly cacheFolder: string;
  /** See `PlanCacheOptions`. */
  readonly cacheMaxBytes: number;
  readonly clock: Clock;
  /** Hears of each import that was done here and succeeded. */
  readonly onImported: (facts: ImportFacts) => void;
  /** Rejects for a plan that cannot be run; default: by reading it. */
  readonly check?: (planFolder: string) => Promise<unknown>;
  /** The URL of the module that imports; default: the importer of this folder's parent. */
  readonly importer?: string;
}

const IMPORTER = new URL('../import-saved-model.ts', import.meta.url).href;

/** Makes a store. Does no I/O. */
export function createPlanStore(options: PlanStoreOptions): PlanStore {
  const { cacheFolder, cacheMaxBytes, clock, onImported, check = readPlan, importer = IMPORTER } = options;
  const cache = createPlanCache({ folder: cacheFolder, maxBytes: cacheMaxBytes, clock, check });
  const addressOf = (digest: string, tags: readonly string[]) => planAddress({ digest, tags, opLibraryDigest: '' });
  return {
    async obtain({ folder, digest, tags }, { signal, onProgress }) {
      const known = digest === '' ? null : await cache.find(addressOf(digest, tags));
      if (known !== null) return known;
      // What lies in this process's folder decides, whatever the digest said: files may have been replaced since.
      const before = await listImportedFiles(folder);
      const found = await digestFiles(folder, before, { signal });
      let startedMs: number | undefined;
      const held = await cache.obtain(addressOf(found, tags), signal, async (into) => {
        startedMs = clock.now();
        await importInThread({ importer, folder, tags, into }, { signal, onProgress });
        // A plan of other content must not lie at this content's address.
        if (!sameFiles(before, await listImportedFiles(folder))) {
          throw new ServeError('ABORTED', `${folder} changed while it was imported`);
        }
      });
      if (startedMs !== undefined) onImported({ folder, tookMs: clock.now() - startedMs, byteLength: held.byteLength });
      return held;
    },
    [Symbol.dispose]: () => cache[Symbol.dispose](),
  };
}
