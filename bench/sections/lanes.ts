import { runScript } from '../node-script.ts';
import { type BenchSection, perSecond } from '../section.ts';

/** The batcher's policy and lanes alone. */
export const LANES: BenchSection = {
  name: 'lanes',
  about: 'batch policy and lanes on one core, without network',
  needsWrk: false,
  needsMesh: false,
  async run({ rounds, seconds }) {
    const limitMs = (rounds * seconds * 1000) / 2;
    const { lanesPerSecond, withFramesPerSecond } = await runScript<{ lanesPerSecond: number; withFramesPerSecond: number }>(
      'alone/lanes.ts',
      [limitMs],
      2 * limitMs + 30_000,
    );
    const row = { unit: '/s', of: 'requests' } as const;
    return [
      {
        ...row,
        path: 'batch policy and lanes alone',
        values: [perSecond(lanesPerSecond)],
        figure: lanesPerSecond,
        target: { atLeast: 200_000 },
      },
      {
        ...row,
        path: 'the same with frames decoded and encoded',
        values: [perSecond(withFramesPerSecond)],
        figure: withFramesPerSecond,
        target: null,
      },
    ];
  },
};
