import { runScript } from '../node-script.ts';
import { type BenchRow, type BenchSection, milliseconds } from '../section.ts';

/** Milliseconds of each way that alone/payload.ts measures. */
type PayloadTimes = Readonly<Record<'jsonParse' | 'json' | 'base64Decode' | 'base64' | 'copy' | 'raw' | 'grpc', number>>;

/** A 224 x 224 x 3 picture from the bytes of a body to a typed array, without a server. */
export const PAYLOAD: BenchSection = {
  name: 'payload',
  about: '224x224x3 pictures as JSON, base64 and bytes: body to typed array, in process',
  needsWrk: false,
  needsMesh: false,
  async run({ rounds, seconds }) {
    const limitMs = rounds * seconds * 1000;
    const times = await runScript<PayloadTimes>('alone/payload.ts', [limitMs], limitMs + 60_000);
    const row = (path: string, ours: number, reference: readonly [name: string, ms: number]) => ({
      path: `224x224x3 picture as ${path}`,
      values: [`ours ${milliseconds(ours)}`, `${reference[0]} ${milliseconds(reference[1])}`],
      unit: 'x' as const,
    });
    const rows: BenchRow[] = [
      {
        ...row('JSON', times.json, ['JSON.parse', times.jsonParse]),
        figure: times.jsonParse / times.json,
        of: 'the speed of JSON.parse',
        target: { atLeast: 2 },
      },
      {
        ...row('base64', times.base64, ['a base64 decode', times.base64Decode]),
        figure: times.base64 / times.base64Decode,
        of: 'the time of a decode',
        target: { atMost: 2 },
      },
      {
        ...row('raw bytes over REST', times.raw, ['a copy', times.copy]),
        figure: times.raw / times.copy,
        of: 'the time of a copy',
        target: { atMost: 2 },
      },
      {
        ...row('tensor_content over gRPC', times.grpc, ['a copy', times.copy]),
        figure: times.grpc / times.copy,
        of: 'the time of a copy',
        target: { atMost: 2 },
      },
    ];
    return rows;
  },
};
