import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { encodeExamplesRequest } from '#proto/classification.ts';
import { crc32c } from '#proto/crc32c.ts';
import { encodeMultiInferenceRequest } from '#proto/inference.ts';
import { ABSENT_SPEC } from '#proto/model-spec.ts';
import { decodeInputs, encodePredictRequest } from '#proto/predict.ts';
import { decodePredictionLog, encodePredictionLog } from '#proto/prediction-log.ts';
import { readTfRecords, writeTfRecords } from '#proto/tfrecord.ts';
import { asObject, encoded, loadRoot } from './protobuf-root.ts';

const root = loadRoot();
const spec = { ...ABSENT_SPEC, present: true, name: 'm' };
const ascii = (text: string) => new Uint8Array(Buffer.from(text));

describe('TFRecord', () => {
  test('the checksum is the one of RFC 3720', () => {
    expect(crc32c(ascii('123456789'))).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(255))).toBe(0x62a8ab43);
  });

  test('records come back in order, empty ones too', () => {
    const records = [ascii('one'), new Uint8Array(0), new Uint8Array(100_000).fill(7)];
    expect([...readTfRecords(writeTfRecords(records))].map((record) => Buffer.from(record))).toEqual(
      records.map((record) => Buffer.from(record)),
    );
    expect([...readTfRecords(new Uint8Array(0))]).toEqual([]);
  });

  test('a file cut off anywhere is a data loss, never a record', () => {
    const file = writeTfRecords([ascii('record')]);
    for (let length = 1; length < file.byteLength; length++) {
      expect(() => [...readTfRecords(file.subarray(0, length))]).toThrow(expect.objectContaining({ code: 'DATA_LOSS' }));
    }
  });

  test('a bit flipped anywhere is a data loss', () => {
    const file = writeTfRecords([ascii('a'), ascii('record')]);
    for (let bit = 0; bit < file.byteLength * 8; bit++) {
      const broken = file.slice();
      broken[bit >> 3] = (broken[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(() => [...readTfRecords(broken)]).toThrow(expect.objectContaining({ code: 'DATA_LOSS' }));
    }
  });
});

describe('PredictionLog', () => {
  const inputs = new Map([['x', { dtype: 'uint8' as const, shape: [2], bytes: new Uint8Array([1, 2]) }]]);

  test('every kind that is replayed comes back', () => {
    const predict = decodePredictionLog(
      encodePredictionLog('predict', encodePredictRequest({ ...spec, version: 4 }, inputs), new Uint8Array(3)),
    );
    expect(predict.type === 'predict' && [predict.request.spec.version, decodeInputs(predict.request.inputs)]).toEqual([4, inputs]);
    const rows = encodeExamplesRequest(spec, { examples: [ascii('')] });
    expect(decodePredictionLog(encodePredictionLog('classify', rows))).toMatchObject({ type: 'classify', request: { spec } });
    expect(decodePredictionLog(encodePredictionLog('regress', rows))).toMatchObject({ type: 'regress', request: { spec } });
    const tasks = [{ spec, methodName: 'tensorflow/serving/regress' }];
    const several = encodePredictionLog('multi-inference', encodeMultiInferenceRequest(tasks, { examples: [] }));
    expect(decodePredictionLog(several)).toMatchObject({ type: 'multi-inference', request: { tasks } });
  });

  test('the field numbers are those of TensorFlow Serving', () => {
    const log = encodePredictionLog('predict', encodePredictRequest(spec, inputs));
    expect(asObject(root, 'tensorflow.serving.PredictionLog', log)).toMatchObject({
      predict_log: { request: { model_spec: { name: 'm' } } },
    });
  });

  test('a kind that is not replayed is told by its number', () => {
    const kinds = { session_run_log: 5, predict_streamed_log: 7 };
    for (const [name, logType] of Object.entries(kinds)) {
      expect(decodePredictionLog(encoded(root, 'tensorflow.serving.PredictionLog', { [name]: {} }))).toEqual({ type: 'other', logType });
    }
    expect(decodePredictionLog(encoded(root, 'tensorflow.serving.PredictionLog', { log_metadata: { dc: 'x' } }))).toEqual({
      type: 'other',
      logType: 0,
    });
  });
});

const MODELS = join(import.meta.dirname, '../../../shared/models');
const warmups = existsSync(MODELS)
  ? readdirSync(MODELS, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('tf_serving_warmup_requests'))
  : [];
if (warmups.length === 0) {
  test.skip('warmup files that TensorFlow wrote: none in ../shared/models', () => undefined);
} else {
  test.each(warmups)('the warmup file %s that TensorFlow wrote is read to its end', (path) => {
    const logs = [...readTfRecords(readFileSync(join(MODELS, path)))].map(decodePredictionLog);
    expect(logs.length).toBeGreaterThan(0);
    for (const log of logs) if (log.type === 'predict') expect(decodeInputs(log.request.inputs).size).toBeGreaterThan(0);
  });
}
