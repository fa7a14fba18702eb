import { appendFileSync, chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildModel } from '#proto/onnx-writer.ts';
import { pause } from './shell.ts';

/** Inner sizes of the affine model. */
export const AFFINE = { inputs: 4, outputs: 3 } as const;

/** A folder of models that the containers share, and its ModelServerConfig. Disposing removes it. */
export interface ModelFolder extends AsyncDisposable {
  readonly directory: string;
  readonly configFile: string;
  /** Puts a version of the affine model there the way people copy files: folder first, then the file in two halves. */
  addAffineVersion(version: number): Promise<void>;
}

/** Copies half_plus_two, a SavedModel of the examples, into a new folder and adds `affine` (ONNX), whose arithmetic depends on its version. */
export async function createModelFolder(savedModelFolder: string): Promise<ModelFolder> {
  const base = mkdtempSync(join(tmpdir(), 'headrace-models-'));
  chmodSync(base, 0o755);
  const directory = join(base, 'models');
  const configFile = join(base, 'models.config');
  cpSync(join(savedModelFolder, 'half_plus_two'), join(directory, 'half_plus_two'), { recursive: true });

  async function addAffineVersion(version: number): Promise<void> {
    const folder = join(directory, 'affine', String(version));
    mkdirSync(folder, { recursive: true });
    const bytes = affineModel(version);
    const half = Math.floor(bytes.length / 2);
    writeFileSync(join(folder, 'model.onnx'), bytes.subarray(0, half));
    // Less than --version_settle_ms: the registry sees a file that still grows, and must not load it.
    await pause(300);
    appendFileSync(join(folder, 'model.onnx'), bytes.subarray(half));
  }
  await addAffineVersion(1);
  const config = Object.entries({ half_plus_two: 'tensorflow', affine: 'onnx' }).map(
    ([name, platform]) => `  config { name: "${name}" base_path: "/models/${name}" model_platform: "${platform}" }`,
  );
  writeFileSync(configFile, `model_config_list {\n${config.join('\n')}\n}\n`);
  return {
    directory,
    configFile,
    addAffineVersion,
    async [Symbol.asyncDispose]() {
      rmSync(base, { recursive: true, force: true });
    },
  };
}

/** What a version of the affine model answers to one row. Every number here is exact in float32, so answers are compared with `===`. */
export function affineTruth(version: number, row: readonly number[]): number[] {
  return Array.from({ length: AFFINE.outputs }, (_, column) =>
    row.reduce((sum, value, index) => sum + value * weight(version, index, column), version * 100 + column),
  );
}

function weight(version: number, row: number, column: number): number {
  return ((row * 5 + column * 3 + version * 7) % 11) / 4 - 1;
}

/** y = x · W + b, x of shape [batch, 4], y of shape [batch, 3]. */
function affineModel(version: number): Uint8Array {
  const weights = Float32Array.from({ length: AFFINE.inputs * AFFINE.outputs }, (_, index) =>
    weight(version, Math.floor(index / AFFINE.outputs), index % AFFINE.outputs),
  );
  const bias = Float32Array.from({ length: AFFINE.outputs }, (_, column) => version * 100 + column);
  return buildModel({
    name: 'affine',
    opset: 17,
    inputs: [{ name: 'x', dtype: 'float', shape: ['batch', AFFINE.inputs] }],
    outputs: [{ name: 'y', dtype: 'float', shape: ['batch', AFFINE.outputs] }],
    initializers: [
      { name: 'w', dtype: 'float', shape: [AFFINE.inputs, AFFINE.outputs], bytes: new Uint8Array(weights.buffer) },
      { name: 'b', dtype: 'float', shape: [AFFINE.outputs], bytes: new Uint8Array(bias.buffer) },
    ],
    nodes: [
      { op: 'MatMul', inputs: ['x', 'w'], outputs: ['xw'] },
      { op: 'Add', inputs: ['xw', 'b'], outputs: ['y'] },
    ],
  });
}
