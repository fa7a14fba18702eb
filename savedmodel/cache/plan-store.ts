import type { Clock } from '#mesh/clock.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import type { OpModuleLayers } from '../ops/load-op-library.ts';
import { digestOfModules, findModelOpModules, findOpModules, type OpModule } from '../ops/op-modules.ts';
import { readPlan } from '../plan/run/read-plan.ts';
import { type ImportOrder, importInThread } from './import-in-thread.ts';
import { digestFiles, type ImportedFile, importedFile, listImportedFiles, sameFiles } from './imported-files.ts';
import { planAddress } from './plan-address.ts';
import { createPlanCache, type HeldPlan } from './plan-cache.ts';
import type { UserCodeBounds } from './user-code-watch.ts';

/** Which plan is wanted. */
export interface PlanWanted {
  /** The SavedModel's folder, as this process sees it. It is read only when the plan is not in the cache. */
  readonly folder: string;
  /** Of its content, as somebody found it: see `digestFiles`. Empty: it is found out. */
  readonly digest: string;
  readonly tags: readonly string[];
}

/** A plan, and what it is of. */
export interface ObtainedPlan extends HeldPlan {
  /** Of the SavedModel's content: see `digestFiles`. */
  readonly digest: string;
  /** The modules of custom ops that it may have been made with: those of its kernels are among them. */
  readonly modules: readonly OpModule[];
}

/** Where custom ops come from, and what bounds them. */
export interface OpSources {
  /** Files and folders of modules: `--op_library`. */
  readonly libraries: readonly string[];
  /** Version folders may bring modules: `--allow_model_code`. */
  readonly allowModelCode: boolean;
  readonly bounds: Omit<UserCodeBounds, 'clock'>;
}

/** Plans by what they are made of: from the cache, or imported. */
export interface PlanStore extends Disposable {
  /**
   * Reads what is imported once to know its content, where that is not known, and once more to import it, where that was not done yet.
   * Rejects with the importer's ServeError when the SavedModel cannot be served, ABORTED when it changes meanwhile, RESOURCE_EXHAUSTED when the
   * cache's disk is full, or the signal's reason.
   */
  obtain(
    wanted: PlanWanted,
    options: { readonly signal: AbortSignal; readonly onProgress: (percent: number, doing: string) => void },
  ): Promise<ObtainedPlan>;
  /** The plan of ONNX models with custom ops. Rejects as `obtain`, and with what keeps modules from being found. */
  obtainCut(wanted: CutWanted, signal: AbortSignal): Promise<ObtainedPlan>;
}

/** ONNX models with custom ops. */
export interface CutWanted {
  /** The version's folder. */
  readonly folder: string;
  /** The models with custom ops in it. */
  readonly files: readonly string[];
  /** The URL of the module that imports them. */
  readonly importer: string;
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
  /** Default: no custom ops. */
  readonly ops?: OpSources;
  /** The URL of the module that imports; default: the importer of this folder's parent. */
  readonly importer?: string;
}

/** Reading to know the content takes this share of the whole. */
const READ_PERCENT = 20;
const IMPORTER = new URL('../import-saved-model.ts', import.meta.url).href;

/** Makes a store. Does no I/O. */
export function createPlanStore(options: PlanStoreOptions): PlanStore {
  const { cacheFolder, cacheMaxBytes, clock, onImported, ops, check = readPlan, importer = IMPORTER } = options;
  const cache = createPlanCache({ folder: cacheFolder, maxBytes: cacheMaxBytes, clock, check });

  /** The plan of some content, made with some modules: from the cache, or imported. */
  async function importFrom(wanted: Content, modules: OpModuleLayers | null, importing: Importing): Promise<HeldPlan> {
    const { folder, digest, tags, files } = wanted;
    const { signal, onProgress } = importing;
    let startedMs: number | undefined;
    const held = await cache.obtain(addressOf(digest, tags, modules), signal, async (into) => {
      startedMs = clock.now();
      const bounds = modules === null || ops === undefined ? {} : { bounds: { clock, ...ops.bounds } };
      const order = { importer: importing.importer, folder, tags, into, ...importing.order, ...(modules === null ? {} : { modules }) };
      await importInThread(order, { signal, onProgress, ...bounds });
      // A plan of other content must not lie at this content's address.
      if (!sameFiles(files, await importing.relist())) throw new ServeError('ABORTED', `${folder} changed while it was imported`);
      if (modules !== null && libraryDigest(await modulesFor(folder)) !== libraryDigest(modules)) {
        throw new ServeError('ABORTED', `modules of custom ops changed while ${folder} was imported`);
      }
    });
    if (startedMs !== undefined) onImported({ folder, tookMs: clock.now() - startedMs, byteLength: held.byteLength });
    return held;
  }

  function obtainWith(wanted: Content, modules: OpModuleLayers | null, { signal, onProgress }: ObtainOptions): Promise<HeldPlan> {
    const importing = (percent: number, doing: string) =>
      onProgress(READ_PERCENT + Math.floor(((100 - READ_PERCENT) * percent) / 100), doing);
    return importFrom(wanted, modules, {
      importer,
      relist: () => listImportedFiles(wanted.folder),
      order: {},
      signal,
      onProgress: importing,
    });
  }

  /** The modules that a version may use; null when there are none. */
  async function modulesFor(folder: string): Promise<OpModuleLayers | null> {
    if (ops === undefined) return null;
    const model = ops.allowModelCode ? await findModelOpModules(folder) : [];
    const configured = await findOpModules(ops.libraries);
    return model.length + configured.length === 0 ? null : { model, configured };
  }

  /** The plan without custom ops, when that is all that the model needs; else null, or why there is none. */
  async function obtainPlain(wanted: Content, options: ObtainOptions): Promise<HeldPlan | null> {
    try {
      const held = await obtainWith(wanted, null, options);
      if (await isComplete(held)) return held;
      held[Symbol.dispose]();
      return null;
    } catch (caught) {
      if (caught instanceof ServeError && caught.code === 'UNIMPLEMENTED') return null;
      throw caught;
    }
  }

  /** As modulesFor, or why they cannot be had: that is the matter of models that need some. */
  async function modulesOrProblem(
    folder: string,
  ): Promise<{ readonly modules: OpModuleLayers | null; readonly problem: ServeError | null }> {
    try {
      return { modules: await modulesFor(folder), problem: null };
    } catch (caught) {
      return { modules: null, problem: toServeError(caught) };
    }
  }

  /** What is in the cache for some content. User code is asked for only where the model needs some: its modules may be broken, and others not care. */
  async function find(digest: string, tags: readonly string[], modules: OpModuleLayers | null): Promise<HeldPlan | null> {
    const found = await cache.find(addressOf(digest, tags, modules));
    if (found !== null) return found;
    return modules === null ? null : findComplete(digest, tags);
  }

  async function findComplete(digest: string, tags: readonly string[]): Promise<HeldPlan | null> {
    const plain = await cache.find(addressOf(digest, tags, null));
    if (plain === null || (await isComplete(plain))) return plain;
    plain[Symbol.dispose]();
    return null;
  }

  return {
    async obtain({ folder, digest: known, tags }, obtaining) {
      const { signal, onProgress } = obtaining;
      const { modules, problem } = await modulesOrProblem(folder);
      const look = (content: string) => (problem === null ? find(content, tags, modules) : findComplete(content, tags));
      const found = known === '' ? null : await look(known);
      if (found !== null) return obtained(found, known, modules);
      // What lies in this process's folder decides, whatever the digest said: files may have been replaced since.
      const files = await listImportedFiles(folder);
      const digest = await digestFiles(folder, files, { signal, onRead: readingProgress(files, onProgress) });
      const wanted: Content = { folder, digest, tags, files };
      if (modules === null && problem === null) return obtained(await obtainWith(wanted, null, obtaining), digest, null);
      const held = (await look(digest)) ?? (await obtainPlain(wanted, obtaining));
      if (held === null && problem !== null) throw problem;
      return obtained(held ?? (await obtainWith(wanted, modules, obtaining)), digest, modules);
    },
    async obtainCut({ folder, files, importer: cutter }, signal) {
      const modules = await modulesFor(folder);
      const listed = await Promise.all(files.map((path) => importedFile(folder, path)));
      const digest = await digestFiles(folder, listed, { signal });
      const held = await importFrom({ folder, digest, tags: ['onnx'], files: listed }, modules, {
        importer: cutter,
        relist: () => Promise.all(files.map((path) => importedFile(folder, path))),
        order: { files },
        signal,
        onProgress: () => {},
      });
      return obtained(held, digest, modules);
    },
    [Symbol.dispose]: () => cache[Symbol.dispose](),
  };
}

type ObtainOptions = Parameters<PlanStore['obtain']>[1];

/** How some content is imported. */
interface Importing extends ObtainOptions {
  /** The URL of the module. */
  readonly importer: string;
  readonly order: Pick<ImportOrder, 'files'>;
  /** The files as they are now. */
  readonly relist: () => Promise<readonly ImportedFile[]>;
}

/** A model whose content is known. */
interface Content {
  readonly folder: string;
  readonly digest: string;
  readonly tags: readonly string[];
  readonly files: readonly ImportedFile[];
}

function addressOf(digest: string, tags: readonly string[], modules: OpModuleLayers | null): string {
  return planAddress({ digest, tags, opLibraryDigest: libraryDigest(modules) });
}

function libraryDigest(modules: OpModuleLayers | null): string {
  return modules === null ? '' : `${digestOfModules(modules.model)}/${digestOfModules(modules.configured)}`;
}

function obtained(held: HeldPlan, digest: string, modules: OpModuleLayers | null): ObtainedPlan {
  return { ...held, digest, modules: modules === null ? [] : [...modules.model, ...modules.configured] };
}

/** True for a plan that serves every signature: no custom op could add to it. */
async function isComplete(held: HeldPlan): Promise<boolean> {
  const { signatures } = await readPlan(held.folder);
  return Object.values(signatures).every(({ refusal }) => refusal === null);
}

/** Tells of each percent once. */
function readingProgress(
  files: readonly ImportedFile[],
  onProgress: (percent: number, doing: string) => void,
): (doneBytes: number) => void {
  const totalBytes = Math.max(
    1,
    files.reduce((sum, file) => sum + file.byteLength, 0),
  );
  let told = 0;
  return (doneBytes) => {
    const percent = Math.floor((READ_PERCENT * doneBytes) / totalBytes);
    if (percent > told) onProgress(percent, 'reading');
    told = Math.max(told, percent);
  };
}
