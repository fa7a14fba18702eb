import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildModel } from '#proto/onnx-writer.ts';

/** Bytes of an ONNX model that computes y = slope * x + version for FLOAT [rows] inputs: an answer tells which version gave it. */
export function lineModel(slope: number, version: number): Uint8Array {
  const constant = (name: string, value: number) => ({
    name,
    dtype: 'float' as const,
    shape: [],
    bytes: new Uint8Array(new Float32Array([value]).buffer),
  });
  return buildModel({
    name: 'line',
    opset: 17,
    inputs: [{ name: 'x', dtype: 'float', shape: ['batch'] }],
    outputs: [{ name: 'y', dtype: 'float', shape: ['batch'] }],
    initializers: [constant('slope', slope), constant('offset', version)],
    nodes: [
      { op: 'Mul', inputs: ['x', 'slope'], outputs: ['scaled'] },
      { op: 'Add', inputs: ['scaled', 'offset'], outputs: ['y'] },
    ],
  });
}

/** Puts a version of y = x / 2 + version in place in one step, as a careful operator does. */
export function putLineVersion(basePath: string, version: number, slope = 0.5): void {
  const staging = join(basePath, `.staging-${version}`);
  mkdirSync(staging, { recursive: true });
  writeFileSync(join(staging, 'model.onnx'), lineModel(slope, version));
  renameSync(staging, join(basePath, String(version)));
}
