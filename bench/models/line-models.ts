import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ServedModel } from '../servers.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { GraphBuilder } from './graph.ts';

/** Many small models in a folder of their own; disposing removes it. */
export interface LineModels extends Disposable {
  /** `m0`, `m1`, …: model i answers y = x / 2 + i, so that an answer tells which of them gave it. */
  readonly models: readonly ServedModel[];
}

/** Writes `count` models, each with a file of its own. */
export function writeLineModels(count: number): LineModels {
  const folder = temporaryFolder();
  const models = Array.from({ length: count }, (_, index): ServedModel => {
    const name = `m${index}`;
    const version = join(folder.path, name, '1');
    mkdirSync(version, { recursive: true });
    writeFileSync(join(version, 'model.onnx'), lineModel(index));
    return { name, basePath: join(folder.path, name), platform: 'onnx' };
  });
  return { models, [Symbol.dispose]: () => folder[Symbol.dispose]() };
}

/** What model `index` answers: exact for x a multiple of 1/8 below 1000. */
export function lineTruth(index: number, x: number): number {
  return x / 2 + index;
}

function lineModel(offset: number): Uint8Array {
  const graph = new GraphBuilder(1);
  const y = graph.node('Add', [graph.node('Mul', ['x', graph.filled([], 0.5)]), graph.filled([], offset)]);
  return graph.finish('line', [{ name: 'x', dtype: 'float', shape: ['N'] }], { name: 'y', dtype: 'float', shape: ['N'] }, y);
}
