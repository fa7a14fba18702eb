import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { utf8 } from '#mesh/bytes.ts';
import { ServeError } from '#mesh/errors.ts';
import { type DType, packStrings, type Tensor } from '#mesh/tensor.ts';
import { openTensorBundle } from '../../../savedmodel/read/tensor-bundle.ts';
import { type BundleLayout, shardFile, type TensorToWrite, writeBundle } from './bundle-writer.ts';
import { anyTensor, tensorOf } from './random-tensors.ts';

const root = mkdtempSync(join(tmpdir(), 'bundle-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;
const freshPrefix = () => join(root, `${folders++}`, 'variables');

const PLAIN: BundleLayout = { shardCount: 1, blockBytes: 4096, restartInterval: 16, compression: 'none' };
const layout: fc.Arbitrary<BundleLayout> = fc.record({
  shardCount: fc.integer({ min: 1, max: 3 }),
  gapBytes: fc.constantFrom(0, 5),
  blockBytes: fc.constantFrom(1, 100, 4096),
  restartInterval: fc.constantFrom(1, 16),
  compression: fc.constantFrom('none', 'snappy', 'snappy with long offsets'),
});
/** Partitions: of each dimension some starts, the first of them 0, or the whole of it. */
const cutsOf = (shape: readonly number[]) =>
  fc.tuple(
    ...shape.map((size) =>
      fc.option(fc.subarray(Array.from({ length: Math.max(0, size - 1) }, (_, index) => index + 1)).map((starts) => [0, ...starts])),
    ),
  );
const anyWrite = anyTensor.chain((tensor): fc.Arbitrary<Omit<TensorToWrite, 'key'>> => {
  const whole = fc.constant({ tensor });
  return tensor.shape.length === 0
    ? whole
    : fc.oneof(
        whole,
        cutsOf(tensor.shape).map((cuts) => ({ tensor, cuts })),
      );
});
const writes = fc
  .dictionary(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }).filter((key) => !key.startsWith('\0')),
    anyWrite,
    { noNullPrototype: true, maxKeys: 8 },
  )
  .map((all): readonly TensorToWrite[] => Object.entries(all).map(([key, one]) => ({ key, ...one })));

const floats = (values: readonly number[], shape: readonly number[]): Tensor => ({
  dtype: 'float',
  shape,
  bytes: new Uint8Array(Float32Array.from(values).buffer),
});
/** `CODE: message` of what a promise is rejected with. */
const problem = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no problem',
    (error: unknown) => (error instanceof ServeError ? `${error.code}: ${error.message}` : `not a ServeError: ${error}`),
  );
const failure = async (act: () => Promise<unknown>): Promise<unknown> => {
  try {
    return await act();
  } catch (error) {
    return error;
  }
};

describe('openTensorBundle', () => {
  test('gives back every tensor: all dtypes, strings, shards, slices', async () => {
    await fc.assert(
      fc.asyncProperty(writes, layout, async (all, how) => {
        const prefix = freshPrefix();
        writeBundle(prefix, all, how);
        const bundle = await openTensorBundle(prefix);
        expect([...bundle.keys()].sort()).toEqual(all.map(({ key }) => key).sort());
        for (const { key, tensor } of all) {
          expect(await bundle.read(key)).toEqual(tensor);
          await bundle.verify(key);
          expect(bundle.entry(key)).toMatchObject({ dtype: tensor.dtype, shape: tensor.shape });
        }
      }),
      { numRuns: 150 },
    );
  });

  test('a location holds the bytes of the tensor, and is there for what lies in one piece', async () => {
    await fc.assert(
      fc.asyncProperty(writes, layout, async (all, how) => {
        const prefix = freshPrefix();
        writeBundle(prefix, all, how);
        const bundle = await openTensorBundle(prefix);
        for (const { key, tensor, cuts } of all) {
          const place = bundle.location(key);
          expect(place !== null).toBe(tensor.dtype !== 'string' && tensor.bytes.byteLength > 0 && cuts === undefined);
          if (place === null) continue;
          const own = readFileSync(place.file).subarray(place.offset, place.offset + place.byteLength);
          expect(own.equals(tensor.bytes)).toBe(true);
        }
      }),
      { numRuns: 50 },
    );
  });

  test('a flipped bit or a cut in any file is DATA_LOSS that names the file, or changes nothing', async () => {
    await fc.assert(
      fc.asyncProperty(writes, layout, fc.nat(), fc.nat(), fc.nat({ max: 7 }), fc.boolean(), async (all, how, which, place, bit, cut) => {
        const prefix = freshPrefix();
        writeBundle(prefix, all, how);
        const files = [
          `${prefix}.index`,
          ...Array.from({ length: how.shardCount }, (_, shard) => shardFile(prefix, shard, how.shardCount)),
        ];
        const file = files[which % files.length] ?? '';
        const bytes = new Uint8Array(readFileSync(file));
        if (bytes.byteLength === 0) return;
        const at = place % bytes.byteLength;
        writeFileSync(file, cut ? bytes.subarray(0, at) : bytes.with(at, (bytes[at] ?? 0) ^ (1 << bit)));
        const isRight = (result: unknown, tensor?: Tensor) => {
          if (result instanceof Error) {
            expect(result instanceof ServeError && result.code).toBe('DATA_LOSS');
            expect(result.message.startsWith(`${file} is damaged`)).toBe(true);
          } else if (tensor !== undefined) expect(result).toEqual(tensor);
        };
        const bundle = await failure(() => openTensorBundle(prefix));
        isRight(bundle);
        if (bundle instanceof Error) return;
        const opened = bundle as Awaited<ReturnType<typeof openTensorBundle>>;
        expect([...opened.keys()].sort()).toEqual(all.map(({ key }) => key).sort());
        for (const { key, tensor } of all) isRight(await failure(() => opened.read(key)), tensor);
      }),
      { numRuns: 250 },
    );
  });
});

describe('a partitioned variable', () => {
  const matrix = floats([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [3, 4]);
  const write = (cuts?: TensorToWrite['cuts']) => {
    const prefix = freshPrefix();
    writeBundle(prefix, [{ key: 'm', tensor: matrix, ...(cuts === undefined ? {} : { cuts }) }], { ...PLAIN, shardCount: 2 });
    return openTensorBundle(prefix);
  };

  test('is read slice by slice as RestoreV2 asks, from its own bytes where the slice was saved so', async () => {
    const bundle = await write([[0, 2], null]);
    expect(await bundle.read('m', '3 4 0,2:-')).toEqual(floats([0, 1, 2, 3, 4, 5, 6, 7], [2, 4]));
    expect(bundle.location('m', '3 4 2,1:-')).toMatchObject({ byteLength: 16 });
    expect(bundle.entry('m')).toMatchObject({ byteLength: 48, slices: [expect.anything(), expect.anything()] });
  });

  test.each([
    undefined,
    [[0, 2], null],
    [null, [0, 1, 3]],
    [
      [0, 1],
      [0, 2],
    ],
  ])('is cut out of the whole where it was saved otherwise (%j)', async (cuts) => {
    const bundle = await write(cuts);
    expect(await bundle.read('m', '3 4 1,2:1,2')).toEqual(floats([5, 6, 9, 10], [2, 2]));
    expect(await bundle.read('m', '3 4 -:-')).toEqual(matrix);
    expect(bundle.location('m', '3 4 1,2:1,2')).toBeNull();
  });

  test.each(['3 4', '3 4 0,2', '3 5 0,2:-', '3 4 0,4:-', '3 4 -1,2:-', 'x 4 -:-'])('refuses the slice "%s"', async (slice) => {
    const bundle = await write();
    expect(await problem(bundle.read('m', slice))).toMatch(/^INVALID_ARGUMENT: /);
  });

  const rows = (start: number, length: number) => [
    { start, length },
    { start: 0, length: -1 },
  ];

  test.each([
    ['overlap', [rows(0, 2), rows(1, 2)], /^DATA_LOSS: .*two of them overlap/],
    ['leave a hole', [rows(0, 1), rows(2, 1)], /^DATA_LOSS: .*they hold 8 elements/],
    ['lie outside', [rows(0, 3), rows(3, 1)], /^DATA_LOSS: .*3,1:- is outside of it/],
  ])('whose slices %s is refused', async (_, slices, message) => {
    const prefix = freshPrefix();
    writeBundle(prefix, [{ key: 'm', tensor: matrix, slices }], PLAIN);
    const bundle = await openTensorBundle(prefix);
    expect(await problem(bundle.read('m'))).toMatch(message);
    expect(await problem(bundle.verify('m'))).toMatch(message);
  });

  test('of strings is put together too', async () => {
    const words: Tensor = { dtype: 'string', shape: [4], bytes: packStrings(['a', '', 'ccc', 'dd'].map(utf8)) };
    const prefix = freshPrefix();
    writeBundle(prefix, [{ key: 'w', tensor: words, cuts: [[0, 1, 3]] }], PLAIN);
    const bundle = await openTensorBundle(prefix);
    expect(await bundle.read('w')).toEqual(words);
    expect(await bundle.read('w', '4 1,2')).toEqual({ dtype: 'string', shape: [2], bytes: packStrings(['', 'ccc'].map(utf8)) });
  });
});

describe('what cannot be read', () => {
  const written = (options: Partial<BundleLayout> = {}) => {
    const prefix = freshPrefix();
    writeBundle(prefix, [{ key: 'v', tensor: floats([1, 2], [2]) }], { ...PLAIN, ...options });
    return prefix;
  };

  test('a big-endian bundle is refused', async () => {
    expect(await problem(openTensorBundle(written({ bigEndian: true })))).toMatch(/^UNIMPLEMENTED: .*big-endian/);
  });

  test('a bundle of a later format is refused', async () => {
    expect(await problem(openTensorBundle(written({ minConsumer: 2 })))).toMatch(/^UNIMPLEMENTED: .*version 2/);
  });

  test('no index is NOT_FOUND', async () => {
    expect(await problem(openTensorBundle(freshPrefix()))).toMatch(/^NOT_FOUND: .*variables\.index/);
  });

  test('a key that is not there is NOT_FOUND, with TensorFlow’s words', async () => {
    const bundle = await openTensorBundle(written());
    expect(bundle.has('w')).toBe(false);
    expect(await problem(bundle.read('w'))).toMatch(/^NOT_FOUND: .*Key w not found in checkpoint/);
  });

  test('a missing shard is named', async () => {
    const prefix = written();
    rmSync(shardFile(prefix, 0, 1));
    const bundle = await openTensorBundle(prefix);
    expect(await problem(bundle.read('v'))).toMatch(/^DATA_LOSS: .*data-00000-of-00001 is damaged at byte 0: the file is missing/);
  });

  test('a shard that is too short is named with where it ends', async () => {
    const prefix = written();
    truncateSync(shardFile(prefix, 0, 1), 5);
    const bundle = await openTensorBundle(prefix);
    expect(await problem(bundle.verify('v'))).toMatch(/^DATA_LOSS: .*damaged at byte 5: .*8 bytes from 0 on/);
  });

  test('verify finds a changed byte without reading the tensor', async () => {
    const prefix = written();
    writeFileSync(shardFile(prefix, 0, 1), new Uint8Array(8).fill(1));
    const bundle = await openTensorBundle(prefix);
    expect(await problem(bundle.verify('v'))).toMatch(/^DATA_LOSS: .*the 8 bytes of v have checksum/);
  });
});

test('a tensor larger than a chunk of reading is whole', async () => {
  const byteLength = 17 * 1024 * 1024;
  const bytes = Uint8Array.from({ length: 1024 }, (_, index) => index & 0xff);
  const big: Tensor = { dtype: 'uint8', shape: [byteLength], bytes: new Uint8Array(Buffer.alloc(byteLength, bytes)) };
  const prefix = freshPrefix();
  writeBundle(prefix, [{ key: 'big', tensor: big }], PLAIN);
  const bundle = await openTensorBundle(prefix);
  await bundle.verify('big');
  expect(Buffer.from((await bundle.read('big')).bytes).equals(big.bytes)).toBe(true);
});

test('every dtype has a tensor in the property tests', () => {
  const seen = new Set<DType>(fc.sample(anyTensor, { numRuns: 400, seed: 7 }).map(({ dtype }) => dtype));
  expect(seen.size).toBe(16);
  expect(fc.sample(tensorOf('half', [2]), 1)[0]?.bytes.byteLength).toBe(4);
});
