import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { imageOf, readDigits } from '../../examples/digits/dataset.ts';
import { encodeGreyPng } from '../../examples/digits/png.ts';

const ROOT = join(import.meta.dirname, '../..');
const MODEL = join(ROOT, 'examples/models/digits/1/model.onnx');

describe('the digit recogniser', () => {
  test('reads more than 97 % of the held-out images as what they are', () => {
    const { heldOut } = readDigits();
    const { digit = [], probabilities = [] } = answer(MODEL, { input: 'images', shape: [heldOut.count, 64], values: heldOut.images });
    const right = digit.filter((value, index) => value === heldOut.labels[index]).length;
    expect(right / heldOut.count).toBeGreaterThan(0.97);
    for (let index = 0; index < heldOut.count; index++) {
      const row = probabilities.slice(index * 10, (index + 1) * 10);
      expect(row.reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 5);
      expect(row.indexOf(Math.max(...row))).toBe(digit[index]);
    }
  });

  test('reads the request of the README as a seven', () => {
    const { instances } = JSON.parse(readFileSync(join(ROOT, 'examples/digits/request.json'), 'utf8')) as { instances: number[][] };
    const { digit } = answer(MODEL, { input: 'images', shape: [1, 64], values: instances.flat() });
    expect(digit).toEqual([7]);
  });

  test('is what train.ts makes, to the byte', () => {
    const folder = mkdtempSync(join(tmpdir(), 'headrace-digits-'));
    try {
      expect(node([join(ROOT, 'examples/digits/train.ts'), folder])).toContain('held-out images');
      expect(digest(join(folder, 'model.onnx'))).toBe(digest(MODEL));
      expect(digest(join(folder, 'signatures.json'))).toBe(digest(join(MODEL, '../signatures.json')));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('was not trained on what it is tested on', () => {
    const { training, heldOut } = readDigits();
    const seen = new Set(Array.from({ length: training.count }, (_, index) => imageOf(training, index).join()));
    const repeats = Array.from({ length: heldOut.count }, (_, index) => imageOf(heldOut, index).join()).filter((image) => seen.has(image));
    expect([training.count, heldOut.count, repeats.length]).toEqual([1438, 359, 0]);
  });
});

describe('half_plus_two', () => {
  test('halves and adds two, in any shape', () => {
    const model = join(ROOT, 'examples/models/half_plus_two/1/model.onnx');
    expect(answer(model, { input: 'x', shape: [3], values: [1, 2, 5] })).toEqual({ y: [2.5, 3, 4.5] });
    expect(answer(model, { input: 'x', shape: [], values: [1] })).toEqual({ y: [2.5] });
  });
});

describe('encodeGreyPng', () => {
  test('writes the header and the lines that a PNG reader expects', () => {
    const png = Buffer.from(encodeGreyPng(Uint8Array.of(0, 64, 128, 192, 255, 1), { width: 3, height: 2 }));
    expect(png.subarray(0, 8)).toEqual(Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'));
    expect([png.toString('latin1', 12, 16), png.readUInt32BE(16), png.readUInt32BE(20), png[24], png[25]]).toEqual(['IHDR', 3, 2, 8, 0]);
    const dataBytes = png.readUInt32BE(33);
    expect([...inflateSync(png.subarray(41, 41 + dataBytes))]).toEqual([0, 0, 64, 128, 0, 192, 255, 1]);
    // The end chunk is the same in every PNG, its CRC included.
    expect(png.subarray(-12).toString('hex')).toBe('0000000049454e44ae426082');
  });

  test('refuses pixels that do not fill the picture', () => {
    expect(() => encodeGreyPng(new Uint8Array(5), { width: 3, height: 2 })).toThrow('5 pixels are not 3 x 2');
  });
});

function answer(
  model: string,
  request: { readonly input: string; readonly shape: readonly number[]; readonly values: ArrayLike<number> },
): Record<string, number[]> {
  const body = JSON.stringify({ ...request, values: Array.from(request.values) });
  return JSON.parse(node([join(ROOT, 'test/examples/run-model.ts'), model], body)) as Record<string, number[]>;
}

/** What a process of the Node that runs this test prints; throws what it complains of. */
function node(args: readonly string[], stdin = ''): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
    input: stdin,
    encoding: 'utf8',
    timeout: 60_000,
  });
  if (status !== 0) throw new Error(`node ${args.join(' ')} exited with ${status}: ${stderr}`);
  return stdout;
}

function digest(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}
