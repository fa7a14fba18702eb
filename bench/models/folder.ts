import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BENCH_MODELS, type BenchModel } from './nets.ts';

const FOLDER = join(import.meta.dirname, '../.models');

/** Raised when a net changes, so that old files are not used. */
const GENERATION = 1;

/** Writes the models that are not there yet. `half` has two equal versions, so that there is something to swap. */
export function makeModels(): void {
  for (const model of BENCH_MODELS) {
    for (const version of model.name === 'half' ? [1, 2] : [1]) {
      const file = modelFile(model, version);
      if (existsSync(file)) continue;
      mkdirSync(join(file, '..'), { recursive: true });
      writeFileSync(`${file}.part`, model.build());
      renameSync(`${file}.part`, file);
    }
  }
}

/** The folder whose sub-folders are the versions of a model. */
export function modelFolder(model: BenchModel): string {
  return join(FOLDER, String(GENERATION), model.name);
}

/** The ONNX file of a version. */
export function modelFile(model: BenchModel, version = 1): string {
  return join(modelFolder(model), String(version), 'model.onnx');
}
