import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { AssignedServable } from '#mesh/control.ts';
import { ServeError } from '#mesh/errors.ts';
import { readOnnxHeaderFile } from '#proto/onnx-header.ts';
import { readOnnxParts } from '#proto/onnx-parts.ts';
import { readOnnxSkeletonFile } from '#proto/onnx-skeleton.ts';
import type { PlanStore } from '../../savedmodel/cache/plan-store.ts';
import { RUNTIME_DOMAINS } from '../../savedmodel/ops/runtime-domains.ts';
import { readPlan } from '../../savedmodel/plan/run/read-plan.ts';
import { estimateFolderBytes } from './memory.ts';
import type { Prepared } from './platforms.ts';
import { kernelsOf } from './prepare-plan.ts';
import { customNodes } from './runtimes/custom-ops/custom-nodes.ts';

const IMPORTER = new URL('./runtimes/custom-ops/import-onnx.ts', import.meta.url).href;

/**
 * What is made of the custom ops in the ONNX models of a version; undefined for a version without any, which is loaded as it is. Rejects as
 * `PlanStore.obtainCut`.
 */
export async function prepareOnnx(plans: PlanStore, assigned: AssignedServable, signal: AbortSignal): Promise<Prepared | undefined> {
  const { path } = assigned;
  const names = (await readdir(path)).filter((name) => name.endsWith('.onnx')).sort();
  const files = names.filter((name) => hasCustomOps(join(path, name)));
  if (files.length === 0) return undefined;
  const held = await plans.obtainCut({ folder: path, files, importer: IMPORTER }, signal);
  try {
    const kernels = kernelsOf(await readPlan(held.folder), held.modules);
    const memoryBytes = await estimateFolderBytes(path);
    return {
      folder: held.folder,
      byteLength: held.byteLength,
      memoryBytes,
      stateful: false,
      ...(kernels === null ? {} : { kernels }),
      [Symbol.dispose]: () => held[Symbol.dispose](),
    };
  } catch (caught) {
    held[Symbol.dispose]();
    throw caught;
  }
}

/** A model imports the domains of all its operators, so most are told by their header alone. */
function hasCustomOps(path: string): boolean {
  try {
    const domains = [...readOnnxHeaderFile(path).opsets.keys()];
    if (domains.every((domain) => RUNTIME_DOMAINS.has(domain))) return false;
    return customNodes(readOnnxParts(readOnnxSkeletonFile(path))).length > 0;
  } catch (caught) {
    // Whoever loads it says what is wrong with it.
    if (caught instanceof ServeError) return false;
    throw caught;
  }
}
