import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildModel } from '#proto/onnx-writer.ts';
import { putLineVersion } from '../embedded/line-models.ts';

/** The models of the fleet under test. */
export type ModelName = 'line' | 'half_plus_two' | 'turns' | 'hazard' | 'spare' | 'device';

/** Inputs of `hazard` that end the worker, end only its executor, and fail. */
export const HAZARD = { worker: 1_000_000, executor: 2_000_000, failure: 3_000_000 } as const;

/** Numbers in a row of `turns`. */
export const TURNS_INPUTS = 8;

const SAVED_MODELS = join(import.meta.dirname, '../../examples/savedmodels');
/** Modules of servables, by the platforms that they serve. */
const MODULES = ['hazard', 'device'].map((name) => `${name}=${join(import.meta.dirname, `${name}-servable.ts`)}`);

/** A folder of models and their ModelServerConfig. Disposing removes it. */
export interface FaultModels extends Disposable {
  readonly directory: string;
  readonly configFile: string;
  /** What workers and registries need to know all of them. */
  readonly moduleFlags: readonly string[];
  /** Puts a version of a line model there: y = x / 2 + version. */
  putLine(model: 'line' | 'spare', version: number): void;
  removeLine(model: 'line' | 'spare', version: number): void;
  /** Copies the SavedModel once more, with other bytes, so that it must be imported anew. */
  putSavedModel(version: number): void;
  /** Does nothing where it is not there. */
  removeSavedModel(version: number): void;
}

/** Layers of `turns`: each costs a quarter of a million multiplications a row. */
const LAYERS = 4;

/** Makes the folder; the configuration names only the models that are wanted. */
export function createModels(wanted: readonly ModelName[]): FaultModels {
  const directory = mkdtempSync(join(tmpdir(), 'headrace-faults-models-'));
  const savedModelFolder = (version: number) => join(directory, 'half_plus_two', String(version));
  putLineVersion(join(directory, 'line'), 1);
  putLineVersion(join(directory, 'spare'), 1);
  mkdirSync(join(directory, 'turns', '1'), { recursive: true });
  writeFileSync(join(directory, 'turns', '1', 'model.onnx'), turnsModel(LAYERS));
  for (const name of ['hazard', 'device']) {
    mkdirSync(join(directory, name, '1'), { recursive: true });
    writeFileSync(join(directory, name, '1', 'module.txt'), `${name}-servable.ts\n`);
  }
  cpSync(join(SAVED_MODELS, 'half_plus_two', '1'), savedModelFolder(1), { recursive: true });

  const platforms = { line: 'onnx', spare: 'onnx', turns: 'onnx', half_plus_two: 'tensorflow', hazard: 'hazard', device: 'device' };
  const config = wanted.map(
    (name) => `  config { name: "${name}" base_path: "${join(directory, name)}" model_platform: "${platforms[name]}" }`,
  );
  const configFile = join(directory, 'models.config');
  writeFileSync(configFile, `model_config_list {\n${config.join('\n')}\n}\n`);
  return {
    directory,
    configFile,
    moduleFlags: [`--servable_modules=${MODULES.join(',')}`],
    putLine: (model, version) => putLineVersion(join(directory, model), version),
    removeLine: (model, version) => rmSync(join(directory, model, String(version)), { recursive: true }),
    putSavedModel(version) {
      cpSync(savedModelFolder(1), savedModelFolder(version), { recursive: true });
      // The digest of an import covers the assets.
      mkdirSync(join(savedModelFolder(version), 'assets'), { recursive: true });
      writeFileSync(join(savedModelFolder(version), 'assets', 'version.txt'), String(version));
    },
    removeSavedModel: (version) => rmSync(savedModelFolder(version), { recursive: true, force: true }),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** What `turns` answers for a row: each number times its place, counted from 1. Exact for small multiples of 1/8. */
export function turnsTruth(row: readonly number[]): number[] {
  return row.map((value, index) => value * (index + 1));
}

const WIDTH = 512;

/** Spreads 8 numbers over 512 places, turns those by one place in each layer with a whole matrix product, and gathers them. */
function turnsModel(layers: number): Uint8Array {
  const matrix = (name: string, rows: number, columns: number, ones: readonly (readonly [number, number, number])[]) => {
    const values = new Float32Array(rows * columns);
    for (const [row, column, value] of ones) values[row * columns + column] = value;
    return { name, dtype: 'float' as const, shape: [rows, columns], bytes: new Uint8Array(values.buffer) };
  };
  const places = Array.from({ length: TURNS_INPUTS }, (_, index) => index);
  const names = Array.from({ length: layers }, (_, layer) => `turned_${layer}`);
  return buildModel({
    name: 'turns',
    opset: 17,
    inputs: [{ name: 'x', dtype: 'float', shape: ['batch', TURNS_INPUTS] }],
    outputs: [{ name: 'y', dtype: 'float', shape: ['batch', TURNS_INPUTS] }],
    initializers: [
      matrix(
        'spread',
        TURNS_INPUTS,
        WIDTH,
        places.map((place) => [place, place, 1]),
      ),
      matrix(
        'turn',
        WIDTH,
        WIDTH,
        Array.from({ length: WIDTH }, (_, index) => [index, (index + 1) % WIDTH, 1]),
      ),
      matrix(
        'gather',
        WIDTH,
        TURNS_INPUTS,
        places.map((place) => [(place + layers) % WIDTH, place, place + 1]),
      ),
    ],
    nodes: [
      { op: 'MatMul', inputs: ['x', 'spread'], outputs: ['spread_out'] },
      ...names.map((name, layer) => ({
        op: 'MatMul',
        inputs: [layer === 0 ? 'spread_out' : (names[layer - 1] ?? ''), 'turn'],
        outputs: [name],
      })),
      { op: 'MatMul', inputs: [names.at(-1) ?? 'spread_out', 'gather'], outputs: ['y'] },
    ],
  });
}
