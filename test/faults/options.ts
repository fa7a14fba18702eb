import { parseArgs } from 'node:util';

/** What a run was asked for. */
export interface FaultOptions {
  readonly seed: number;
  /** Only faults whose names contain this; empty: all. */
  readonly only: string;
  readonly combinations: number;
  /** Instead of the faults: a soak of so many minutes. 0: none. */
  readonly soakMinutes: number;
  /** The faults, alone and together. */
  readonly faults: boolean;
  /** Twice the load that the mesh can carry. */
  readonly overload: boolean;
  readonly writeResults: boolean;
}

/** The help text. */
export const USAGE = `npm run test:faults -- [flags]
  --seed N           repeats a run; printed by every run
  --only TEXT        only faults whose names contain this
  --combinations N   pairs of faults by chance, after the single ones (default 10)
  --faults           only the faults
  --overload         only twice the load that the mesh can carry
  --soak MINUTES     instead of all that: a soak (20 when nothing is said)
  --write-results    writes docs/reliability.md
`;

const SOAK_MINUTES = 20;

/** Reads the flags. Throws for unknown ones and for numbers that are none; undefined when help was asked for. */
export function parseFaultOptions(args: readonly string[]): FaultOptions | undefined {
  // `--soak` may stand alone.
  const given = args.flatMap((arg, index) => (arg === '--soak' && !/^\d/.test(args[index + 1] ?? '') ? [`--soak=${SOAK_MINUTES}`] : [arg]));
  const { values } = parseArgs({
    args: given,
    options: {
      seed: { type: 'string', default: String(Math.floor(Math.random() * 1e9)) },
      only: { type: 'string', default: '' },
      combinations: { type: 'string', default: '10' },
      faults: { type: 'boolean', default: false },
      overload: { type: 'boolean', default: false },
      soak: { type: 'string', default: '0' },
      'write-results': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const number = (name: 'seed' | 'combinations' | 'soak') => {
    const value = Number(values[name]);
    if (!(value >= 0)) throw new Error(`--${name}: expected a number, found ${values[name]}`);
    return value;
  };
  return {
    seed: number('seed'),
    only: values.only,
    combinations: number('combinations'),
    soakMinutes: number('soak'),
    faults: values.faults || !values.overload,
    overload: values.overload || (!values.faults && values.only === ''),
    writeResults: values['write-results'],
  };
}
