import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { type DType, packStrings, tensorByteLength } from '#mesh/tensor.ts';
import { readOnnxHeader, readOnnxHeaderFile } from '#proto/onnx-header.ts';
import { ONNX_TYPE } from '#proto/onnx-types.ts';
import { buildModel, type OnnxConstant, type OnnxModel } from '#proto/onnx-writer.ts';
import { WireWriter } from '#proto/wire.ts';

const folder = mkdtempSync(join(tmpdir(), 'headrace-onnx-'));
afterAll(() => rmSync(folder, { recursive: true }));

const weights = (name: string, dtype: DType, shape: readonly number[]): OnnxConstant => ({
  name,
  dtype,
  shape,
  bytes: new Uint8Array(tensorByteLength(dtype, shape)),
});
const model: OnnxModel = {
  name: 'graph',
  opset: 21,
  inputs: [
    { name: 'x', dtype: 'float', shape: ['batch', 3] },
    { name: 'any', dtype: 'bfloat16', shape: null },
    { name: 'free', dtype: 'int64', shape: [-1, 'n', 0] },
    { name: 'scalar', dtype: 'bool', shape: [] },
    { name: 'w', dtype: 'float', shape: [3, 4] },
  ],
  outputs: [{ name: 'y', dtype: 'string', shape: ['batch', 4] }],
  initializers: [
    weights('w', 'float', [3, 4]),
    weights('b', 'half', [1000, 100]),
    { name: 'labels', dtype: 'string', shape: [2], bytes: packStrings([new Uint8Array(3), new Uint8Array(4)]) },
  ],
  nodes: [
    {
      op: 'Mystery',
      domain: 'my.ops',
      inputs: ['x', ''],
      outputs: ['y'],
      attributes: { n: 3, f: { float: 0.5 }, s: 'text', list: [1, -2] },
    },
  ],
};

describe('ONNX', () => {
  test('the header tells inputs, outputs, operator sets and the size of weights of what the writer built', () => {
    expect(readOnnxHeader(buildModel(model))).toEqual({
      irVersion: 10,
      graphName: 'graph',
      opsets: new Map([
        ['', 21],
        ['my.ops', 1],
      ]),
      inputs: [
        { name: 'x', dtype: 'float', elementType: 1, shape: [-1, 3], dimNames: ['batch', ''] },
        { name: 'any', dtype: 'bfloat16', elementType: 16, shape: null, dimNames: [] },
        { name: 'free', dtype: 'int64', elementType: 7, shape: [-1, -1, 0], dimNames: ['', 'n', ''] },
        { name: 'scalar', dtype: 'bool', elementType: 9, shape: [], dimNames: [] },
      ],
      outputs: [{ name: 'y', dtype: 'string', elementType: 8, shape: [-1, 4], dimNames: ['batch', ''] }],
      initializerBytes: 48 + 200_000 + 7,
      initializerCount: 3,
      externalFiles: [],
    });
  });

  test('a file reads like its bytes, through windows much smaller than it', () => {
    const path = join(folder, 'model.onnx');
    const bytes = buildModel({ ...model, initializers: [...model.initializers, weights('large', 'double', [1_000_000])] });
    writeFileSync(path, bytes);
    expect(readOnnxHeaderFile(path)).toEqual(readOnnxHeader(bytes));
  });

  test.each(Object.keys(ONNX_TYPE) as DType[])('dtype %s comes back', (dtype) => {
    const value = { name: 'v', dtype, shape: [2] };
    const { inputs, outputs } = readOnnxHeader(
      buildModel({ name: 'g', opset: 17, inputs: [value], outputs: [value], initializers: [], nodes: [] }),
    );
    expect([inputs[0]?.dtype, outputs[0]?.dtype]).toEqual([dtype, dtype]);
  });

  test('weights in other files are counted, and their files named once', () => {
    const writer = new WireWriter();
    const initializer = (name: string) =>
      writer.delimited(5, () => {
        writer.varintField(1, 10).varintField(2, 1).stringField(8, name);
        writer.delimited(13, () => void writer.stringField(1, 'location').stringField(2, 'weights.bin'));
        writer.delimited(13, () => void writer.stringField(1, 'offset').stringField(2, '0'));
        writer.varintField(14, 1);
      });
    writer.delimited(7, () => {
      initializer('a');
      initializer('b');
    });
    expect(readOnnxHeader(writer.finish())).toMatchObject({ initializerBytes: 80, initializerCount: 2, externalFiles: ['weights.bin'] });
  });

  test('an input that is no tensor, or of a type that cannot be sent, has no dtype', () => {
    const writer = new WireWriter();
    writer.delimited(7, () => {
      writer.delimited(11, () => void writer.stringField(1, 'sequence').delimited(2, () => void writer.delimited(4, () => undefined)));
      const tensorType = () => void writer.delimited(1, () => void writer.varintField(1, 17));
      writer.delimited(11, () => void writer.stringField(1, 'float8').delimited(2, tensorType));
    });
    expect(readOnnxHeader(writer.finish()).inputs).toMatchObject([
      { name: 'sequence', dtype: null, elementType: 0 },
      { name: 'float8', dtype: null, elementType: 17 },
    ]);
  });

  test('a model cut off anywhere outside of its last fields is a data loss that names the place', () => {
    const bytes = buildModel({ ...model, initializers: [weights('w', 'float', [3, 4])] });
    const graphEnd = bytes.byteLength - 24;
    for (let length = 0; length < graphEnd; length++) {
      expect(() => readOnnxHeader(bytes.subarray(0, length))).toThrow(
        expect.objectContaining({ code: 'DATA_LOSS', message: expect.stringMatching(new RegExp(`near byte \\d+ of ${length}: `)) }),
      );
    }
  });

  test('a bit flipped anywhere is read or a data loss', () => {
    const bytes = buildModel({ ...model, initializers: [weights('w', 'float', [3, 4])] });
    for (let bit = 0; bit < bytes.byteLength * 8; bit++) {
      const broken = bytes.slice();
      broken[bit >> 3] = (broken[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      try {
        readOnnxHeader(broken);
      } catch (caught) {
        expect(caught).toMatchObject({ name: 'ServeError', code: 'DATA_LOSS' });
      }
    }
  });

  test('what is not a model, or not there, is refused by its path', () => {
    const path = join(folder, 'text.onnx');
    writeFileSync(path, 'this is not a model');
    expect(() => readOnnxHeaderFile(path)).toThrow(expect.objectContaining({ code: 'DATA_LOSS', message: expect.stringContaining(path) }));
    expect(() => readOnnxHeaderFile(join(folder, 'absent'))).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
    expect(() => readOnnxHeader(new Uint8Array(0))).toThrow(/it has no graph/);
  });

  test('an initializer whose bytes do not fit its shape is refused by name', () => {
    const initializers = [{ ...weights('w', 'float', [2]), bytes: new Uint8Array(7) }];
    expect(() => buildModel({ ...model, initializers })).toThrow('w: float of shape [2] takes 8 bytes, 7 were given');
  });

  test('an attribute that is a fraction must say that it is a float', () => {
    const nodes = [{ op: 'Op', inputs: [], outputs: [], attributes: { alpha: 0.5 } }];
    expect(() => buildModel({ ...model, nodes })).toThrow('attribute alpha is 0.5');
  });
});

const MODELS = join(import.meta.dirname, '../../../shared/models/onnx');
const models = existsSync(MODELS)
  ? readdirSync(MODELS, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.onnx'))
  : [];
if (models.length === 0) {
  test.skip('models of other writers: none in ../shared/models/onnx', () => undefined);
} else {
  test.each(models)('%s, from another writer, has inputs and outputs', (path) => {
    const header = readOnnxHeaderFile(join(MODELS, path));
    expect(header.inputs.length).toBeGreaterThan(0);
    expect(header.outputs.every(({ dtype }) => dtype !== null)).toBe(true);
    expect(header.opsets.get('')).toBeGreaterThan(5);
  });
}
