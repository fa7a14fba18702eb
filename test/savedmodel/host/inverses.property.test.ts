import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { floatToHalf, halfToFloat } from '../../../savedmodel/host/half.ts';
import { strings, stringTensor } from '../../../savedmodel/host/host-tensor.ts';
import { HOST_OPS } from '../../../savedmodel/host/index.ts';
import type { HostAttrs, HostTensor } from '../../../savedmodel/host-value.ts';

const NO_ATTRS = { has: () => false } as unknown as HostAttrs;

function run(op: string, ...inputs: HostTensor[]): HostTensor {
  const [output] = HOST_OPS.get(op)?.(inputs, NO_ATTRS) ?? [];
  if (output === undefined) throw new Error(`${op} gave nothing`);
  return output;
}

test('DecodeBase64 undoes EncodeBase64 for any bytes', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 5 }), (values) => {
      const back = run('DecodeBase64', run('EncodeBase64', stringTensor([values.length], values)));
      expect(strings(back).map((bytes) => [...bytes])).toEqual(values.map((bytes) => [...bytes]));
    }),
  );
});

test('DecodePng undoes EncodePng for any image', () => {
  const image = fc
    .record({ height: fc.integer({ min: 1, max: 5 }), width: fc.integer({ min: 1, max: 5 }), channels: fc.integer({ min: 1, max: 4 }) })
    .chain(({ height, width, channels }) => {
      const count = height * width * channels;
      return fc
        .uint8Array({ minLength: count, maxLength: count })
        .map((data): HostTensor => ({ dtype: 'uint8', shape: [height, width, channels], data }));
    });
  fc.assert(fc.property(image, (one) => expect(run('DecodePng', run('EncodePng', one))).toEqual(one)));
});

test('every half that is a number survives the way to a double and back', () => {
  for (let bits = 0; bits < 65536; bits++)
    if ((bits & 0x7fff) <= 0x7c00 && floatToHalf(halfToFloat(bits)) !== bits) throw new Error(`half ${bits}`);
  expect(floatToHalf(Number.NaN)).toBe(0x7e00);
});
