/** Version folders with tiny models, for the tests of the worker. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AssignedServable, RunSettings } from '#mesh/control.ts';
import type { DType } from '#mesh/tensor.ts';
import { buildModel, type OnnxModel, type OnnxNode, type OnnxValue } from '#proto/onnx-writer.ts';

/** A folder of version folders that goes with the test. */
export interface ModelFolder extends Disposable {
  readonly root: string;
  /** Writes files into the folder `name`, making it, and returns its path. */
  version(name: string, files: Readonly<Record<string, Uint8Array | string>>): string;
}

export function createModelFolder(): ModelFolder {
  const root = mkdtempSync(join(tmpdir(), 'headrace-worker-'));
  return {
    root,
    version(name, files) {
      const path = join(root, name);
      mkdirSync(path, { recursive: true });
      for (const [file, content] of Object.entries(files)) {
        mkdirSync(join(path, file, '..'), { recursive: true });
        writeFileSync(join(path, file), content);
      }
      return path;
    },
    [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }),
  };
}

type Graph = Partial<OnnxModel> & Pick<OnnxModel, 'inputs' | 'outputs' | 'nodes'>;

/** Encodes a graph with the fields that never matter here filled in. */
export function model(graph: Graph): Uint8Array {
  return buildModel({ name: 'test', opset: 17, initializers: [], ...graph });
}

function floats(name: string, values: readonly number[]) {
  return { name, dtype: 'float' as const, shape: [], bytes: new Uint8Array(Float32Array.from(values).buffer) };
}

/** y = x * scale + offset over any shape with the given inner dimensions. */
export function affine(scale: number, offset: number, shape: OnnxValue['shape'] = ['N']): Uint8Array {
  return model({
    inputs: [{ name: 'x', dtype: 'float', shape }],
    outputs: [{ name: 'y', dtype: 'float', shape }],
    initializers: [floats('scale', [scale]), floats('offset', [offset])],
    nodes: [
      { op: 'Mul', inputs: ['x', 'scale'], outputs: ['scaled'] },
      { op: 'Add', inputs: ['scaled', 'offset'], outputs: ['y'] },
    ],
  });
}

/** y = x / 2 + 2, one dimension of any size. */
export const halfPlusTwo = () => affine(0.5, 2);

/** y = x for one dtype and any shape. */
export function identity(dtype: DType): Uint8Array {
  return single(dtype, { op: 'Identity', inputs: ['x'], outputs: ['y'] });
}

/** One node from x to y, both of the dtype and of any shape. */
export function single(dtype: DType, node: OnnxNode): Uint8Array {
  return model({ inputs: [{ name: 'x', dtype, shape: null }], outputs: [{ name: 'y', dtype, shape: null }], nodes: [node] });
}

/** y = the sum of x over dimension 0, so that a batched output has one row whatever came in. */
export function sumOfRows(): Uint8Array {
  return model({
    inputs: [{ name: 'x', dtype: 'float', shape: ['N'] }],
    outputs: [{ name: 'y', dtype: 'float', shape: ['M'] }],
    nodes: [{ op: 'ReduceSum', inputs: ['x'], outputs: ['y'], attributes: { keepdims: 1 } }],
  });
}

/** y[n] = table[i[n]] with a table of three: an index beyond it fails the run. */
export function lookup(): Uint8Array {
  return model({
    inputs: [{ name: 'i', dtype: 'int64', shape: ['N'] }],
    outputs: [{ name: 'y', dtype: 'float', shape: ['N'] }],
    initializers: [{ name: 'table', dtype: 'float', shape: [3], bytes: new Uint8Array(Float32Array.of(10, 20, 30).buffer) }],
    nodes: [{ op: 'Gather', inputs: ['table', 'i'], outputs: ['y'] }],
  });
}

const RUN: RunSettings = {
  instances: 0,
  intraOpThreads: 0,
  executionProviders: [],
  warmup: true,
  warmupIterations: 1,
  maxLoadRetries: 0,
  loadRetryIntervalMicros: -1,
};

/** An assignment of version 1 of a model in a folder. */
export function assigned(
  name: string,
  path: string,
  more: Partial<Omit<AssignedServable, 'run'>> & { readonly version?: number; readonly run?: Partial<RunSettings> } = {},
): AssignedServable {
  const { version = 1, run, ...rest } = more;
  return {
    id: { name, version },
    path,
    platform: '',
    batching: null,
    perModelBatching: false,
    generation: 1,
    ...rest,
    run: { ...RUN, ...run },
  };
}
