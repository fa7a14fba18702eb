/** Writes a SavedModel of any size without TensorFlow: convolutions with batch normalisation in a function, as Keras exports them. */
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { WireWriter } from '#proto/wire.ts';
import { fixed32, masked, writeSortedTable } from '../../test/savedmodel/read/table-writer.ts';
import { createRandom } from './graph.ts';
import { writeNode, writeShape } from './graph-def-writer.ts';

/** How large it becomes: about `layers` times 36 `channels`² bytes. */
export interface LargeSavedModel {
  readonly channels: number;
  readonly layers: number;
}

const FLOAT = 1;
const STRING = 7;
const RESOURCE = 20;
const SIDE = 16;
/** In the order of FusedBatchNormV3's inputs, after the kernel. */
const PARTS = ['kernel', 'gamma', 'beta', 'mean', 'variance'] as const;

interface Variable {
  readonly name: string;
  readonly part: (typeof PARTS)[number];
  readonly shape: readonly number[];
}

/** Writes it into an empty folder, and gives the bytes of its variables. */
export function writeLargeSavedModel(folder: string, { channels, layers }: LargeSavedModel): number {
  const variables = Array.from({ length: layers }, (_, layer) =>
    PARTS.map((part): Variable => {
      const shape = part === 'kernel' ? [3, 3, channels, channels] : [channels];
      return { name: `layer_${String(layer).padStart(3, '0')}/${part}`, part, shape };
    }),
  ).flat();
  writeFileSync(join(folder, 'saved_model.pb'), savedModel(variables, channels, layers));
  mkdirSync(join(folder, 'variables'));
  return writeVariables(join(folder, 'variables', 'variables'), variables, channels);
}

function savedModel(variables: readonly Variable[], channels: number, layers: number): Uint8Array {
  const writer = new WireWriter(64 * 1024);
  writer.varintField(1, 1).delimited(2, () => {
    writer.delimited(1, () => writer.stringField(4, 'serve').stringField(5, '2.21.0'));
    writer.delimited(2, () => {
      writeGraph(writer, variables, channels);
      writer.delimited(2, () => writer.delimited(1, () => writeServing(writer, variables, layers)));
    });
    writer.delimited(3, () => writer.stringField(1, 'saver_filename:0').stringField(3, 'restore_all').varintField(7, 2));
    writer.delimited(5, () => writer.stringField(1, 'serving_default').delimited(2, () => writeSignature(writer, channels)));
  });
  return writer.finish();
}

/** Variables, the nodes that restore them, and the call of the function. */
function writeGraph(writer: WireWriter, variables: readonly Variable[], channels: number): void {
  const node = (name: string, op: string, inputs: readonly string[], attrs: Parameters<typeof writeNode>[1]['attrs']) =>
    writer.delimited(1, () => writeNode(writer, { name, op, inputs, attrs }));
  node('image', 'Placeholder', [], { dtype: { type: FLOAT }, shape: { shape: [-1, SIDE, SIDE, channels] } });
  for (const { name, shape } of variables) {
    node(name, 'VarHandleOp', [], { dtype: { type: FLOAT }, shape: { shape }, shared_name: { text: name }, container: { text: '' } });
  }
  node('call', 'StatefulPartitionedCall', ['image', ...variables.map(({ name }) => name)], {
    Tin: { types: [FLOAT, ...variables.map(() => RESOURCE)] },
    Tout: { types: [FLOAT] },
    f: { function: 'serving' },
  });
  node('saver_filename', 'Placeholder', [], { dtype: { type: STRING }, shape: { shape: [] } });
  const strings = (name: string, values: readonly string[]) =>
    node(name, 'Const', [], { dtype: { type: STRING }, value: { strings: values } });
  strings(
    'restore/names',
    variables.map(({ name }) => name),
  );
  strings(
    'restore/slices',
    variables.map(() => ''),
  );
  node('restore', 'RestoreV2', ['saver_filename', 'restore/names', 'restore/slices'], { dtypes: { types: variables.map(() => FLOAT) } });
  for (const [index, { name }] of variables.entries()) {
    node(`${name}/assign`, 'AssignVariableOp', [name, `restore:${index}`], { dtype: { type: FLOAT } });
  }
  node(
    'restore_all',
    'NoOp',
    variables.map(({ name }) => `^${name}/assign`),
    {},
  );
}

/** The function: Conv2D, FusedBatchNormV3 and Relu over and over. */
function writeServing(writer: WireWriter, variables: readonly Variable[], layers: number): void {
  const argument = (name: string) => name.replace('/', '_');
  writer.delimited(1, () => {
    writer.stringField(1, 'serving');
    const declare = (field: number, name: string, type: number) =>
      writer.delimited(field, () => writer.stringField(1, name).varintField(3, type));
    declare(2, 'image', FLOAT);
    for (const { name } of variables) declare(2, argument(name), RESOURCE);
    declare(3, 'features', FLOAT);
  });
  const node = (name: string, op: string, inputs: readonly string[], attrs: Parameters<typeof writeNode>[1]['attrs']) =>
    writer.delimited(3, () => writeNode(writer, { name, op, inputs, attrs }));
  let x = 'image';
  for (let layer = 0; layer < layers; layer++) {
    const own = variables.slice(layer * PARTS.length, (layer + 1) * PARTS.length).map(({ name }) => argument(name));
    for (const name of own) node(`read_${name}`, 'ReadVariableOp', [name], { dtype: { type: FLOAT } });
    const [kernel = '', ...norm] = own.map((name) => `read_${name}:value:0`);
    const layout = { T: { type: FLOAT }, data_format: { text: 'NHWC' } };
    node(`conv_${layer}`, 'Conv2D', [x, kernel], { ...layout, strides: { ints: [1, 1, 1, 1] }, padding: { text: 'SAME' } });
    node(`norm_${layer}`, 'FusedBatchNormV3', [`conv_${layer}:output:0`, ...norm], {
      ...layout,
      U: { type: FLOAT },
      epsilon: { float: 1e-3 },
      is_training: { bool: false },
    });
    node(`relu_${layer}`, 'Relu', [`norm_${layer}:y:0`], { T: { type: FLOAT } });
    x = `relu_${layer}:activations:0`;
  }
  writer.delimited(4, () => writer.stringField(1, 'features').stringField(2, x));
}

function writeSignature(writer: WireWriter, channels: number): void {
  const tensor = (field: number, alias: string, name: string) =>
    writer.delimited(field, () => {
      writer.stringField(1, alias).delimited(2, () => {
        writer.stringField(1, name).varintField(2, FLOAT);
        writer.delimited(3, () => writeShape(writer, [-1, SIDE, SIDE, channels]));
      });
    });
  tensor(1, 'image', 'image:0');
  tensor(2, 'features', 'call:0');
  writer.stringField(3, 'tensorflow/serving/predict');
}

/** A bundle of one shard. Variables of one part have the same values: what is in them does not matter here. */
function writeVariables(prefix: string, variables: readonly Variable[], channels: number): number {
  const random = createRandom(channels);
  const bound = Math.sqrt(6 / (9 * channels));
  const kernel = Float32Array.from({ length: 9 * channels * channels }, () => (2 * random() - 1) * bound);
  const values = { kernel, gamma: 1, beta: 0, mean: 0, variance: 1 };
  const stored = new Map(
    PARTS.map((part) => {
      const value = values[part];
      const floats = typeof value === 'number' ? new Float32Array(channels).fill(value) : value;
      const bytes = new Uint8Array(floats.buffer);
      return [part, { bytes, checksum: fixed32(masked(bytes)) }];
    }),
  );
  const entries: (readonly [string, Uint8Array])[] = [
    [
      '',
      new WireWriter()
        .varintField(1, 1)
        .delimited(3, () => {})
        .finish(),
    ],
  ];
  const shard = openSync(`${prefix}.data-00000-of-00001`, 'wx');
  let offset = 0;
  try {
    for (const { name, part, shape } of variables) {
      const found = stored.get(part);
      if (found === undefined) throw new TypeError(`${part} has no values (this is a bug)`);
      writeSync(shard, found.bytes);
      const entry = new WireWriter().varintField(1, FLOAT);
      entry.delimited(2, () => writeShape(entry, shape)).varintField(4, offset);
      entry.varintField(5, found.bytes.byteLength).tag(6, 5).raw(found.checksum);
      entries.push([name, entry.finish()]);
      offset += found.bytes.byteLength;
    }
  } finally {
    closeSync(shard);
  }
  entries.sort(([one], [other]) => (one < other ? -1 : 1));
  writeFileSync(`${prefix}.index`, writeSortedTable(entries, { blockBytes: 256 * 1024, restartInterval: 16, compression: 'none' }));
  return offset;
}
