import { describe, expect, test } from '@jest/globals';
import { TRANSLATED_OPS } from '../../../savedmodel/translate/translate-graph.ts';
import { loadOpCases, type OpCase, type OpFeed } from '../goldens/goldens.ts';
import { buildGolden, difference, type GoldenModel, isNumeric, type ShapeKnowledge } from './golden-regions.ts';
import { type OnnxRunResult, runOnnx } from './run-onnx.ts';

/** Where the runtime answers something else than TensorFlow, and why that stays. */
const DEVIATIONS: Readonly<Record<string, string>> = {
  'Mean nothing to reduce': 'the mean of nothing is 0, not NaN: a sum and a division would keep the runtime from fusing normalisations',
  'Max NaN and Inf': 'a reduction to the largest skips NaN',
  'Min NaN and Inf': 'a reduction to the smallest skips NaN',
  'TopKV2 ties give the lower index, sorted=False': 'without sorting the order is open; ours is sorted',
  'Round int32 is unchanged': 'TensorFlow gives zeros for integers here, which nobody can want',
  'Round int64 is unchanged': 'TensorFlow gives zeros for integers here, which nobody can want',
  'Equal shapes that differ count as unequal': 'shapes that cannot be broadcast are refused',
  'NotEqual shapes that differ count as unequal': 'shapes that cannot be broadcast are refused',
};

/** Uses of translated ops that have no translation, by op; each is refused as UNIMPLEMENTED. */
const REFUSED: ReadonlySet<string> = new Set(
  ['ConcatV2', 'Split', 'Transpose', 'ArgMax', 'ArgMin', 'GatherV2', 'GatherNd', 'Roll', 'MirrorPad'].concat(
    ['Bitcast', 'UniqueV2', 'UniqueWithCountsV2', 'NonMaxSuppressionV5', 'MaxPool', 'Cumprod', 'DenseBincount', 'StridedSlice'],
    ['MatrixDiagV2', 'MatrixDiagV3', 'MatrixDiagPartV2', 'MatrixDiagPartV3', 'MatrixSetDiagV2', 'MatrixSetDiagV3', 'DiagPart'],
  ),
);

/** Uses that need more than the ranks of what is fed. */
const NEEDS_SIZES: ReadonlySet<string> = new Set(['Conv2D', 'DepthwiseConv2dNative', 'Bincount']);

/** What TensorFlow refuses but a model built out of ONNX answers; none of it reaches a client that TensorFlow would have served. */
const UNCHECKED: ReadonlySet<string> = new Set([
  'Pow',
  'Range',
  'EnsureShape',
  'InvertPermutation',
  'Pad',
  'SegmentSum',
  'Slice',
  'CheckNumerics',
  'SparseToDense',
]);

interface Answer {
  readonly one: OpCase;
  readonly feed: OpFeed;
  readonly knowledge: ShapeKnowledge;
  readonly golden: GoldenModel;
  readonly result: OnnxRunResult | undefined;
}

interface Refusal {
  readonly one: OpCase;
  readonly knowledge: ShapeKnowledge;
  readonly error: unknown;
}

const cases = loadOpCases().filter((one) => isNumeric(one) && TRANSLATED_OPS.has(one.op) && hasOutputs(one));
const refusals: Refusal[] = [];
const built = cases.flatMap((one) =>
  (['sizes', 'ranks'] as const).flatMap((knowledge) => {
    try {
      return [{ one, knowledge, golden: buildGolden(one, knowledge), feeds: knowledge === 'sizes' ? one.feeds.slice(0, 1) : one.feeds }];
    } catch (error) {
      refusals.push({ one, knowledge, error });
      return [];
    }
  }),
);
const results = runOnnx(built.map(({ golden, feeds }) => ({ model: golden.model, runs: feeds.map((_, run) => golden.feeds(run)) })));
const answers = built.flatMap(({ one, knowledge, golden, feeds }, index) =>
  feeds.map((feed, run): Answer => ({ one, feed, knowledge, golden, result: results[index]?.[run] })),
);

/** The outputs that mean something: inference leaves those of FusedBatchNorm after the third unset, ONNX needs no reserve space. */
function meaningful(one: OpCase, outputs: number): number {
  const isTraining = one.attrs.get('is_training');
  if (!one.op.startsWith('FusedBatchNorm')) return outputs;
  return isTraining?.type === 'bool' && isTraining.value ? Math.min(outputs, 3) : 3;
}

function toleranceOf(one: OpCase): number {
  if (one.op === 'ResizeBicubic') return 5e-3; // TensorFlow reads its kernel from a table of 1024 steps.
  const half = one.inputs.some((input) => input.dtype === 'half');
  return one.tolerance ?? (half ? 2e-3 : 2e-5);
}

/** What is wrong with an answer, in one line; null when nothing is. */
function fault({ one, feed, knowledge, golden, result }: Answer): string | null {
  const place = `${one.op} ${one.name} (${knowledge})`;
  if (feed.answer.type === 'error') return result?.type === 'error' || UNCHECKED.has(one.op) ? null : `${place} was to be refused`;
  if (result?.type !== 'outputs') return `${place}: ${result?.message}`;
  for (const [index, expected] of feed.answer.outputs.slice(0, meaningful(one, feed.answer.outputs.length)).entries()) {
    const wrong = difference(result.outputs[`output${index}`], expected, toleranceOf(one));
    if (wrong !== null) return `${place}: output ${index} ${wrong}`;
    const inferred = golden.outputs[index]?.shape ?? null;
    const misses =
      inferred?.length !== expected.shape.length || inferred.some((size, axis) => size !== -1 && size !== expected.shape[axis]);
    if (inferred !== null && misses) return `${place}: output ${index} was promised [${inferred}] and is [${expected.shape}]`;
  }
  return null;
}

const deviates = ({ one }: Answer) => `${one.op} ${one.name}` in DEVIATIONS;

describe("TensorFlow's own answers", () => {
  test.each([...new Set(cases.map((one) => one.op))])('%s answers as TensorFlow does, with sizes known and unknown', (op) => {
    const mine = answers.filter((answer) => answer.one.op === op && !deviates(answer) && !needsMore(answer));
    expect(mine.length + refusals.filter(({ one }) => one.op === op).length).toBeGreaterThan(0);
    expect(mine.map(fault).filter((line) => line !== null)).toEqual([]);
  });

  test('what has no translation is refused as UNIMPLEMENTED, naming op and node', () => {
    for (const { one, error } of refusals) {
      expect(error).toMatchObject({ code: 'UNIMPLEMENTED', message: expect.stringContaining(`${one.op} node ${one.op.toLowerCase()}`) });
    }
    const surprising = refusals.filter(({ one, knowledge }) => !REFUSED.has(one.op) && !(knowledge === 'ranks' && NEEDS_SIZES.has(one.op)));
    expect(surprising.map(({ one, error }) => `${one.op} ${one.name}: ${error}`)).toEqual([]);
  });

  test('the deviations are real: each still differs', () => {
    const still = new Set(answers.filter((answer) => deviates(answer) && fault(answer) !== null).map(({ one }) => `${one.op} ${one.name}`));
    expect([...still].sort()).toEqual(Object.keys(DEVIATIONS).sort());
  });
});

/** A grouped convolution cannot be told from a plain one while the number of channels is unknown. */
function needsMore({ one, knowledge }: Answer): boolean {
  return knowledge === 'ranks' && one.op === 'Conv2D' && one.name === 'groups';
}

function hasOutputs(one: OpCase): boolean {
  return one.feeds.every((feed) => feed.answer.type === 'error' || feed.answer.outputs.length > 0);
}
