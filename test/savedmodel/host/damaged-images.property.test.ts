import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ServeError } from '#mesh/errors.ts';
import { stringTensor } from '../../../savedmodel/host/host-tensor.ts';
import { HOST_OPS } from '../../../savedmodel/host/index.ts';
import type { HostAttrs, HostTensor } from '../../../savedmodel/host-value.ts';

interface Golden {
  readonly op: string;
  readonly in: readonly { readonly v?: readonly string[] }[];
  readonly out?: unknown;
}

/** Whole images that TensorFlow decodes: the first of every kind of golden. */
function images(file: string): Uint8Array[] {
  const goldens = JSON.parse(readFileSync(join(import.meta.dirname, file), 'utf8')) as readonly Golden[];
  const texts = new Set(goldens.filter((golden) => golden.out !== undefined).map((golden) => golden.in[0]?.v?.[0] ?? ''));
  return Array.from(texts, (text) => new Uint8Array(Buffer.from(text, 'base64')));
}

const NO_ATTRS = { has: () => false } as unknown as HostAttrs;
const RECOVER = { has: (name: string) => name === 'try_recover_truncated', bool: () => true } as unknown as HostAttrs;

function decode(bytes: Uint8Array, attrs: HostAttrs): HostTensor | string {
  try {
    const [image] = HOST_OPS.get(attrs === RECOVER ? 'DecodeJpeg' : 'DecodeImage')?.([stringTensor([], [bytes])], attrs) ?? [];
    if (image === undefined) throw new Error('no image');
    return image;
  } catch (error) {
    if (!(error instanceof ServeError)) throw error;
    return error.code;
  }
}

describe.each(['goldens-jpeg.json', 'goldens-png-gif.json'])('damaged images of %s', (file) => {
  const whole = images(file);
  const flips = fc.array(fc.record({ at: fc.nat(), to: fc.integer({ min: 0, max: 255 }) }), { minLength: 1, maxLength: 6 });
  const harm = fc.record({
    image: fc.nat(),
    flips,
    keep: fc.double({ min: 0, max: 1, noNaN: true }),
    cut: fc.boolean(),
    recover: fc.boolean(),
  });

  test('become an image of the size they name or an error of the client, whatever is flipped or cut', () => {
    fc.assert(
      fc.property(harm, ({ image, flips: changes, keep, cut, recover }) => {
        const source = whole[image % whole.length] ?? new Uint8Array(0);
        const bytes = source.slice(0, cut ? Math.ceil(source.length * keep) : source.length);
        for (const { at, to } of changes) bytes[at % Math.max(1, bytes.length)] = to;
        const answer = decode(bytes, recover ? RECOVER : NO_ATTRS);
        if (typeof answer === 'string') expect(answer).toMatch(/^(INVALID_ARGUMENT|UNIMPLEMENTED|RESOURCE_EXHAUSTED)$/);
        else expect(answer.data.length).toBe(answer.shape.reduce((product, size) => product * size, 1));
      }),
      { seed: 20261121, numRuns: 600 },
    );
  });
});

test('a small JPEG that claims 65500 x 65500 pixels is refused before memory is taken for it', () => {
  const [small] = images('goldens-jpeg.json');
  const bytes = new Uint8Array(small ?? []);
  for (let at = 0; at < bytes.length - 9; at++) {
    if (bytes[at] === 0xff && bytes[at + 1] === 0xc0) bytes.set([0xff, 0xdc, 0xff, 0xdc], at + 5);
  }
  expect(decode(bytes, NO_ATTRS)).toBe('INVALID_ARGUMENT');
});
