import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { Tensor } from '#mesh/tensor.ts';
import { loadPatternGolden } from '../goldens/goldens.ts';
import { difference } from './golden-regions.ts';
import { opCounts } from './op-counts.ts';
import { runOnnx } from './run-onnx.ts';
import { bytesOf, readWholeModel, SHARED_MODELS, versionFolder } from './whole-signatures.ts';

const PATTERNS = join(import.meta.dirname, '../goldens/patterns');
const ON_DEMAND = ['Loop', 'If', 'LSTM', 'GRU', 'RNN'];

interface Translation {
  /** Everything that is not as TensorFlow answered, or could not be run. */
  readonly faults: readonly string[];
  /** How often each of the operators of control flow and recurrence occurs, in all signatures that were called. */
  readonly ops: Readonly<Record<string, number>>;
}

/** Translates the signatures of a model that have answers, and compares these. */
async function translated(directory: string, folder: string): Promise<Translation> {
  const { calls, tags } = loadPatternGolden(directory);
  const model = await readWholeModel(folder, tags);
  const signatures = [...new Set(calls.map((call) => call.signature))];
  const jobs = signatures.map((signature) => {
    const asked = calls.filter((call) => call.signature === signature && call.answer.type === 'outputs');
    return { asked, model: bytesOf(model.translate(signature)), runs: asked.map((call) => Object.fromEntries(call.inputs)) };
  });
  const results = runOnnx(jobs);
  const faults = jobs.flatMap(({ asked }, job) =>
    asked.flatMap(({ answer, tolerance }, run) => {
      const result = results[job]?.[run];
      if (result?.type !== 'outputs') return [`call ${run}: ${result?.message}`];
      const expected: readonly (readonly [string, Tensor])[] = answer.type === 'outputs' ? [...answer.outputs] : [];
      return expected.flatMap(([name, tensor]) => difference(result.outputs[name], tensor, tolerance ?? 1e-5) ?? []);
    }),
  );
  const counts = jobs.map((job) => opCounts(job.model));
  const total = (op: string) => counts.reduce((sum, one) => sum + (one[op] ?? 0), 0);
  return { faults, ops: Object.fromEntries(ON_DEMAND.flatMap((op) => (total(op) === 0 ? [] : [[op, total(op)]]))) };
}

describe("TensorFlow's answers of models with control flow", () => {
  test.each([
    ['tf1_case', { If: 2 }],
    ['tf1_cond', { If: 3 }],
    ['tf1_while', { Loop: 2 }],
    ['tf1_nested_while', { Loop: 2, If: 1 }],
    ['tf1_map_fn', { Loop: 4 }],
    ['tf1_dynamic_rnn_lstm', { Loop: 1, If: 2 }],
    ['tf1_dynamic_rnn_gru', { Loop: 1, If: 2 }],
    ['tf1_bidirectional_lstm', { Loop: 2 }],
    ['tf2_case', { If: 2 }],
    ['tf2_cond', { If: 3 }],
    ['tf2_while', { Loop: 3 }],
    ['tf2_nested_while', { Loop: 2, If: 1 }],
    ['tf2_while_in_cond', { Loop: 1, If: 1 }],
    ['tf2_map_fn', { Loop: 4 }],
    ['keras3_lstm_masked', { Loop: 1 }],
  ])('%s: its loops are Loops, its branches Ifs', async (name, ops) => {
    const found = await translated(join(PATTERNS, name), join(PATTERNS, name, '1'));
    expect(found).toEqual({ faults: [], ops });
  });
});

describe("TensorFlow's answers of recurrent layers", () => {
  test.each([
    ['keras3_lstm', { LSTM: 1, If: 1 }],
    ['keras3_gru', { GRU: 1, If: 1 }],
    ['keras3_gru_backwards', { GRU: 1, If: 1 }],
    ['keras3_bidirectional', { LSTM: 2, If: 2 }],
  ])('%s: its loops are operators, inside an If for empty batches', async (name, ops) => {
    const found = await translated(join(PATTERNS, name), join(PATTERNS, name, '1'));
    expect(found).toEqual({ faults: [], ops });
  });

  const shared = { keras_lstm: { LSTM: 1, If: 1 }, keras_gru: { GRU: 1, If: 1 }, stacked_lstm: { LSTM: 2, If: 2 } };
  for (const [name, ops] of Object.entries(shared)) {
    const directory = join(SHARED_MODELS, name);
    const folder = versionFolder(directory);
    if (folder === undefined) test.skip(`${name}: not in ../shared/models`, () => undefined);
    else {
      test(`${name}: its loops are operators`, async () => {
        expect(await translated(directory, folder)).toEqual({ faults: [], ops });
      });
    }
  }
});

describe('dilated convolutions', () => {
  test('as Keras stores them, with paddings that depend on the size of the data, answer as in TensorFlow', async () => {
    const name = 'keras3_conv1d';
    expect(await translated(join(PATTERNS, name), join(PATTERNS, name, '1'))).toEqual({ faults: [], ops: {} });
  });
});
