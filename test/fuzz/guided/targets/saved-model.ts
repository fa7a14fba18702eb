/** Files of SavedModels. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packStrings } from '#mesh/tensor.ts';
import { encodePredictRequest } from '#proto/predict.ts';
import { encodePredictionLog } from '#proto/prediction-log.ts';
import { writeTfRecords } from '#proto/tfrecord.ts';
import { WireReader, WireWriter } from '#proto/wire.ts';
import { readBundleHeader, readBundleRecord } from '../../../../savedmodel/read/bundle-records.ts';
import { unpackBundleStrings } from '../../../../savedmodel/read/bundle-strings.ts';
import { readMetaGraph, readTags } from '../../../../savedmodel/read/meta-graph.ts';
import { savedModelFromText } from '../../../../savedmodel/read/saved-model-text.ts';
import { parseShapeAndSlice } from '../../../../savedmodel/read/slice-copy.ts';
import { decompressSnappy } from '../../../../savedmodel/read/snappy.ts';
import { readSortedTable } from '../../../../savedmodel/read/sorted-table.ts';
import { readWarmupRecords, warmupRuns } from '../../../../services/worker-gpu/warmup.ts';
import { signatureOf } from '../../../gateway/rest/computing-core.ts';
import { compressSnappy } from '../../../savedmodel/read/snappy-writer.ts';
import { fixed32, masked, writeSortedTable } from '../../../savedmodel/read/table-writer.ts';
import { agree, type FuzzTarget, orRefused } from '../target.ts';

const MODELS = join(import.meta.dirname, '../../../../examples/savedmodels');
const META_GRAPH = 18;
const FOOTER_BYTES = 48;

/** Every MetaGraph of a file: tags and content. */
function readModel(bytes: Uint8Array): void {
  for (const reader = new WireReader(bytes); reader.more(); ) {
    const tag = reader.tag();
    if (tag !== META_GRAPH) {
      reader.skip(tag);
      continue;
    }
    const metaGraph = reader.message();
    readTags(new WireReader(bytes, metaGraph.offset, metaGraph.end));
    readMetaGraph(metaGraph);
  }
}

const TEXT = `saved_model_schema_version: 1
meta_graphs { meta_info_def { tags: "serve" tensorflow_version: "2.9" stripped_op_list { op { name: "Add" } } }
  graph_def { node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } attr { key: "shape" value { shape { dim { size: -1 } } } } }
    node { name: "c" op: "Const" input: "^x" attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_shape { } float_val: 0.5 } } } }
    versions { producer: 987 } library { function { signature { name: "f" } ret { key: "y" value: "x" } } } }
  collection_def { key: "saved_model_main_op" value { node_list { value: "init" } } }
  signature_def { key: "serving_default" value { inputs { key: "x" value { name: "x:0" dtype: DT_FLOAT tensor_shape { unknown_rank: true } } } method_name: "tensorflow/serving/predict" } }
  asset_file_def { tensor_info { name: "a:0" } filename: "v.txt" } }`;

/** A table as it comes, and with its checksums put right, so that what they cover is reached. */
function sortedTable(bytes: Uint8Array): void {
  orRefused(() => readSortedTable('index', bytes));
  const right = withRightChecksums(bytes);
  if (right !== undefined)
    for (const value of orRefused(() => readSortedTable('index', right))?.values() ?? []) orRefused(() => readBundleRecord(value));
}

function withRightChecksums(bytes: Uint8Array): Uint8Array | undefined {
  const fixed = Uint8Array.from(bytes);
  const put = (handle: Uint8Array | WireReader) => {
    const reader = handle instanceof WireReader ? handle : new WireReader(handle);
    const [offset, size] = [reader.uint64(), reader.uint64()];
    if (offset + size + 5 > fixed.byteLength) throw new RangeError('beyond the end');
    fixed.set(fixed32(masked(fixed.subarray(offset, offset + size + 1))), offset + size + 1);
    return fixed.subarray(offset, offset + size);
  };
  try {
    const footer = new WireReader(fixed, fixed.byteLength - FOOTER_BYTES);
    put(footer);
    const index = put(footer);
    const reader = new WireReader(index, 0, Math.max(0, index.byteLength - 4));
    for (let blocks = 0; reader.more() && blocks < 16; blocks++) {
      reader.uint32();
      const [suffix, value] = [reader.uint32(), reader.uint32()];
      reader.fixed(suffix);
      put(reader.fixed(value));
    }
  } catch {
    return fixed.byteLength >= FOOTER_BYTES ? fixed : undefined;
  }
  return fixed;
}

/** Packed by our writer and unpacked again, any bytes are the same; as packed bytes, they unpack or are refused. */
function snappy(bytes: Uint8Array): void {
  agree(
    'what is packed and unpacked',
    Buffer.from(decompressSnappy(compressSnappy(bytes, { longOffsets: bytes.byteLength % 2 === 1 }))),
    Buffer.from(bytes),
  );
  orRefused(() => decompressSnappy(bytes));
}

/** The first byte chooses the reader. */
const RECORDS: readonly ((bytes: Uint8Array) => unknown)[] = [
  readBundleHeader,
  readBundleRecord,
  (bytes) => unpackBundleStrings(bytes.subarray(1), bytes[0] ?? 0),
  (bytes) => parseShapeAndSlice(Buffer.from(bytes).toString('latin1')),
];

function tables(): Uint8Array[] {
  const entry = new WireWriter()
    .varintField(1, 1)
    .delimited(2, () => undefined)
    .varintField(5, 4)
    .finish();
  const entries = [['', new WireWriter().varintField(1, 1).finish()], ...['a', 'ab', 'abc'].map((key) => [key, entry])] as [
    string,
    Uint8Array,
  ][];
  const compressions = ['none', 'snappy', 'snappy with long offsets'] as const;
  const written = compressions.map((compression) => writeSortedTable(entries, { blockBytes: 24, restartInterval: 2, compression }));
  return [...written, Uint8Array.from(readFileSync(join(MODELS, 'half_plus_two/1/variables/variables.index')))];
}

const SIGNATURES = { serving_default: signatureOf({ x: 'float' }, { y: 'float' }), classify: signatureOf({ inputs: 'string' }, {}) };
const REQUEST = encodePredictRequest(
  { name: 'm', version: null, label: null, signatureName: '' },
  new Map([
    ['x', { dtype: 'float', shape: [1], bytes: new Uint8Array(4) }],
    ['s', { dtype: 'string', shape: [0], bytes: packStrings([]) }],
  ]),
);

/** A whole file, and one record with the checksums that it needs. */
function warmup(bytes: Uint8Array): void {
  for (const file of [bytes, writeTfRecords([bytes])]) {
    orRefused(() => {
      for (const log of readWarmupRecords(file, 'file')) warmupRuns(log, SIGNATURES);
    });
  }
}

/** Targets of this file. */
export const TARGETS: readonly FuzzTarget[] = [
  {
    name: 'saved-model-text',
    format: 'text',
    covers: ['savedmodel/read/', 'proto/text-scanner.ts'],
    words: [
      '{',
      '}',
      '<',
      '>',
      '[',
      ']',
      ':',
      ',',
      '"',
      "'",
      '\\',
      '#',
      'DT_STRING',
      '-1',
      'nan',
      'tensor_content:',
      'list {',
      'func {',
      '[type.googleapis.com/tensorflow.AssetFileDef] {',
      'any_list',
    ],
    seeds: () => [Buffer.from(TEXT)],
    check: (bytes) => orRefused(() => readModel(savedModelFromText(Buffer.from(bytes).toString('utf8')))),
  },
  {
    name: 'saved-model-proto',
    format: 'protobuf',
    covers: ['savedmodel/read/'],
    words: ['serve', 'value', 'dtype', 'shape', '__proto__', 'serving_default'],
    seeds: () => [savedModelFromText(TEXT)],
    check: (bytes) => orRefused(() => readModel(bytes)),
  },
  { name: 'sorted-table', format: 'bytes', covers: ['savedmodel/read/'], seeds: tables, check: sortedTable },
  {
    name: 'snappy',
    format: 'bytes',
    covers: ['savedmodel/read/snappy.ts'],
    seeds: () => [
      compressSnappy(Buffer.from('abcabcabcabcabcabcabcabc'.repeat(8)), { longOffsets: false }),
      compressSnappy(Buffer.from('xy'.repeat(90)), { longOffsets: true }),
    ],
    check: snappy,
  },
  {
    name: 'bundle-records',
    format: 'bytes',
    covers: ['savedmodel/read/'],
    words: ['-,', ':', '0,1', ' ', '2 3 '],
    seeds: () => [
      Buffer.from('\x03 2 3 0,1:-'.trim()),
      Buffer.concat([
        Uint8Array.of(0),
        new WireWriter()
          .varintField(1, 2)
          .varintField(2, 0)
          .delimited(3, () => undefined)
          .finish(),
      ]),
      Buffer.concat([
        Uint8Array.of(1),
        new WireWriter()
          .varintField(1, 1)
          .delimited(2, () => undefined)
          .varintField(5, 4)
          .delimited(7, () => undefined)
          .finish(),
      ]),
      Buffer.from([2, 2, 1, 1, 0, 0, 0, 0, 0x61, 0x62]),
    ],
    check: (bytes) => void orRefused(() => RECORDS[(bytes[0] ?? 0) % RECORDS.length]?.(bytes.subarray(1))),
  },
  {
    name: 'warmup-records',
    format: 'protobuf',
    covers: ['proto/', 'services/worker-gpu/warmup.ts'],
    seeds: () => [encodePredictionLog('predict', REQUEST), writeTfRecords([encodePredictionLog('predict', REQUEST), new Uint8Array(3)])],
    check: warmup,
  },
];
