import { readdir } from 'node:fs/promises';
import type { AssignedServable } from '#mesh/control.ts';
import { ServeError } from '#mesh/errors.ts';
import { holdsSavedModel } from '../../savedmodel/cache/imported-files.ts';
import type { PlanStore } from '../../savedmodel/cache/plan-store.ts';
import type { OpModule } from '../../savedmodel/ops/op-modules.ts';
import { prepareOnnx } from './prepare-onnx.ts';
import { preparePlan } from './prepare-plan.ts';
import type { UserModule } from './runtime.ts';

/** What was made of a version folder before it is loaded. It stays until disposed. */
export interface Prepared extends Disposable {
  /** `LoadRequest.preparedFolder`. */
  readonly folder: string;
  /** Of what will be loaded. */
  readonly byteLength: number;
  /** What one instance takes, where that is known better than from `byteLength`. */
  readonly memoryBytes?: number;
  /** `LoadRequest.module`. */
  readonly module?: UserModule;
  /** It keeps state between requests: one executor holds it. */
  readonly stateful: boolean;
  /** The kernels of custom ops that it runs; absent: none. */
  readonly kernels?: CustomKernels;
}

/** Kernels of custom ops, and where they are from. */
export interface CustomKernels {
  /** Names of the ops. */
  readonly ops: readonly string[];
  /** `LoadRequest.opModules`. */
  readonly modules: readonly OpModule[];
}

/** Code of users that a version runs: its executors are processes of their own, under limits. */
export interface UserCode {
  /**
   * Servables of one group share executors, so that they can share state, and are loaded again together when one of them breaks its executor.
   * Absent: executors for this one alone.
   */
  readonly group?: string;
  /** What errors, metrics and traces call it, as a sentence does: `op ZeroOut`. From a small set; at least one. */
  readonly names: readonly string[];
}

/** A kind of servable that a worker can host. */
export interface Platform {
  /** What `model_platform` says. */
  readonly name: string;
  /** The URL of the runtime's module: see `runtime.ts`. */
  readonly runtime: string;
  /** True when a version folder with these files is of this kind. */
  readonly recognises: (fileNames: readonly string[]) => boolean;
  /** A version is of this kind when its `model_platform` says so, whatever its path holds, and never otherwise. */
  readonly byNameAlone?: boolean;
  /**
   * Makes of the folder what the runtime loads; absent, or undefined for a version, where that is the folder itself. It is called several times and must be cheap when the
   * work is done; long work goes into a thread. Rejects with ServeError, or with the signal's reason.
   */
  readonly prepare?: (assigned: AssignedServable, signal: AbortSignal) => Promise<Prepared | undefined>;
  /** The code of users that this version runs; null or absent: none. `prepared` is there for a platform that prepares. */
  readonly userCode?: (assigned: AssignedServable, prepared: Prepared | undefined) => Promise<UserCode | null>;
}

/** The kinds that come with Headrace. `plans`: where imported SavedModels are. */
export function builtInPlatforms(plans: PlanStore): readonly Platform[] {
  return [
    {
      name: 'onnx',
      runtime: new URL('./runtimes/onnx.ts', import.meta.url).href,
      recognises: (names) => names.some((name) => name === 'signatures.json' || name.endsWith('.onnx') || name.endsWith('.ort')),
      prepare: (assigned, signal) => prepareOnnx(plans, assigned, signal),
      userCode: async (_, prepared) => userCodeOf(prepared),
    },
    {
      name: 'tensorflow',
      runtime: new URL('./runtimes/tensorflow.ts', import.meta.url).href,
      recognises: holdsSavedModel,
      prepare: (assigned, signal) => preparePlan(plans, assigned, signal),
      userCode: async (_, prepared) => userCodeOf(prepared),
    },
  ];
}

/** The executors of a version with kernels are its own: one that breaks them hurts no other. */
function userCodeOf(prepared: Prepared | undefined): UserCode | null {
  return prepared?.kernels === undefined ? null : { names: prepared.kernels.ops.map((op) => `op ${op}`) };
}

/**
 * The platform of a version folder: the one asked for when it recognises the folder, else whichever does, in order (`tensorflow` is what TF
 * Serving's configurations say by default, also of a folder that holds something else). Rejects with NOT_FOUND when the folder is not there or is of no kind.
 */
export async function platformOf(folder: string, wanted: string, platforms: readonly Platform[]): Promise<Platform> {
  const named = platforms.find(({ name, byNameAlone }) => byNameAlone === true && name === wanted);
  if (named !== undefined) return named;
  let names: readonly string[];
  try {
    names = await readdir(folder);
  } catch (cause) {
    throw new ServeError('NOT_FOUND', noModel(folder), { cause });
  }
  const fitting = platforms.filter((platform) => platform.recognises(names));
  const found = fitting.find((platform) => platform.name === wanted) ?? fitting[0];
  if (found === undefined) throw new ServeError('NOT_FOUND', noModel(folder));
  return found;
}

/** TF Serving's words, with ours for what else could have been there. */
function noModel(folder: string): string {
  return `Could not find SavedModel .pb or .pbtxt at supplied export directory path: ${folder}. Check that the directory exists and that you have the right permissions for accessing it. (No model.onnx is there either.)`;
}
