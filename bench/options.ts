import { parseArgs } from 'node:util';

/** What the command line asks for. */
export interface BenchOptions {
  /** Names of sections; empty: all. */
  readonly only: readonly string[];
  readonly rounds: number;
  readonly seconds: number;
  /** Sections about growth leave out points above it. */
  readonly most: number;
  readonly profile: string;
  /** A Python that may have TensorFlow; empty: none was named. */
  readonly python: string;
  readonly writeResults: boolean;
  /** Flags for Headrace. */
  readonly flags: readonly string[];
}

/** What `--help` prints; `sections` are lines about each. */
export function usage(sections: readonly string[]): string {
  return `npm run bench -- [SECTION]… [OPTIONS] [-- FLAGS FOR HEADRACE]

  --quick            one round of one second: does everything work? The figures mean little
  --rounds N         times each subject is measured (default 5)
  --seconds S        of each measurement (default 5)
  --most N           sections about growth leave out what is more than N: models, connections, rows (default 1000000; 16 with --quick)
  --only NAME        a section, as without --only; may be repeated
  --profile NAME     writes the CPU profile of a process into bench/results: embedded, gateway, batcher, worker-gpu, registry, naive, bare-http, bare-http2
  --python PATH      a Python with TensorFlow, which imported SavedModels are compared with (default: HEADRACE_BENCH_PYTHON in the environment)
  --write-results    writes bench/RESULTS.md; what it says of sections that are not run stays

Sections:
${sections.map((line) => `  ${line}`).join('\n')}
`;
}

/** Reads the command line; undefined when it asks for help. Throws a sentence about what is wrong with it. */
export function parseOptions(args: readonly string[], sectionNames: readonly string[]): BenchOptions | undefined {
  const { values, tokens } = parseArgs({
    args: [...args],
    allowPositionals: true,
    tokens: true,
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      most: { type: 'string' },
      only: { type: 'string', multiple: true, default: [] },
      profile: { type: 'string', default: '' },
      python: { type: 'string', default: '' },
      'write-results': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const terminator = tokens.find((token) => token.kind === 'option-terminator')?.index ?? Number.POSITIVE_INFINITY;
  const positionals = tokens.filter((token) => token.kind === 'positional');
  const only = [...positionals.filter(({ index }) => index < terminator).map(({ value }) => value), ...values.only];
  const stranger = only.find((name) => !sectionNames.includes(name));
  if (stranger !== undefined) throw new RangeError(`${stranger} is no section: the sections are ${sectionNames.join(', ')}`);
  return {
    only,
    rounds: count('rounds', values.rounds ?? (values.quick ? '1' : '5')),
    seconds: count('seconds', values.seconds ?? (values.quick ? '1' : '5')),
    most: count('most', values.most ?? (values.quick ? '16' : '1000000'), 1_000_000),
    profile: values.profile,
    python: values.python,
    writeResults: values['write-results'],
    flags: positionals.filter(({ index }) => index > terminator).map(({ value }) => value),
  };
}

function count(name: string, text: string, highest = 600): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > highest)
    throw new RangeError(`--${name} ${text}: a whole number from 1 to ${highest} was expected`);
  return value;
}
