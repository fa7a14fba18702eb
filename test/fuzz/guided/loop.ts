/** The loop: change an input, run it, keep it when it reaches code that none reached before. */
import type { Random } from '../random.ts';
import type { Coverage } from './coverage.ts';
import { minimise } from './minimise.ts';
import { mutateInput } from './mutations.ts';
import type { FuzzTarget } from './target.ts';
import { type Breach, judge, keyOf } from './verdict.ts';

/** An input that broke a promise, made small. */
export interface Finding {
  readonly breach: Breach;
  readonly input: Uint8Array;
}

/** What a run of the loop needs. */
export interface LoopOptions {
  readonly target: FuzzTarget;
  readonly random: Random;
  readonly coverage: Coverage;
  /** What to begin with. */
  readonly inputs: readonly Uint8Array[];
  /** False ends the loop; asked before each batch. */
  readonly goOn: (runs: number) => boolean;
  /** Told of every input before it is run, for whoever watches from outside. */
  readonly onInput: (input: Uint8Array) => void;
  readonly onFinding: (finding: Finding) => void;
}

/** What a run of the loop came to. */
export interface LoopResult {
  readonly runs: number;
  /** Inputs that found something new, in order; the given ones included. */
  readonly kept: readonly Uint8Array[];
}

/** Inputs between two looks at the coverage: looking takes some hundred microseconds. */
const BATCH = 12;
/** One batch in so many is looked at input by input, to see how often code ran and not only whether. */
const CLOSE_LOOK = 6;
/** One batch in so many is followed by an input that is far longer: what takes the square of its length shows there. */
const LONG_INPUT = 40;
const LONG_BYTES = 128 * 1024;
/** More findings than this say nothing new. */
const MOST_FINDINGS = 20;

/** Fuzzes one target. The same seed, inputs and number of runs do the same again. */
export function fuzz({ target, random, coverage, inputs, goOn, onInput, onFinding }: LoopOptions): LoopResult {
  const kept: Uint8Array[] = [];
  const found = new Set<string>();
  let runs = 0;

  /** True when the promise was kept. */
  function run(input: Uint8Array): boolean {
    onInput(input);
    runs++;
    const breach = judge(target, input);
    if (breach === undefined) return true;
    const key = keyOf(breach);
    if (found.has(key) || found.size >= MOST_FINDINGS) return false;
    found.add(key);
    const same = (smaller: Uint8Array) => {
      onInput(smaller);
      const again = judge(target, smaller);
      return again !== undefined && keyOf(again) === key;
    };
    // A slow input takes its time at each try, and making it smaller makes it quick.
    const small = breach.kind === 'failed' ? minimise(input, same) : input;
    onFinding({ breach: judge(target, small) ?? breach, input: small });
    return false;
  }

  /** Runs an input alone, and keeps it if it is news. */
  function consider(input: Uint8Array): void {
    coverage.skip();
    if (run(input) && coverage.learn() !== undefined) kept.push(input);
  }

  for (const input of inputs) consider(input);
  for (let batch = 0; goOn(runs); batch++) {
    if (batch % LONG_INPUT === 1) run(lengthened(pickInput(kept, random), random));
    const made = Array.from({ length: BATCH }, () => mutateInput(pickInput(kept, random), { random, target, others: kept }));
    if (batch % CLOSE_LOOK === 0) {
      for (const input of made) consider(input);
      continue;
    }
    coverage.skip();
    for (const input of made) run(input);
    if (coverage.foundBlock()) for (const input of made) consider(input);
  }
  return { runs, kept };
}

/** An input with a piece of it repeated very often. */
function lengthened(input: Uint8Array, random: Random): Uint8Array {
  const at = random.below(input.byteLength + 1);
  const piece = input.subarray(at, at + 1 + random.below(24));
  const times = Math.floor(LONG_BYTES / Math.max(1, piece.byteLength));
  return Buffer.concat([input.subarray(0, at), ...Array.from({ length: times }, () => piece), input.subarray(at)]);
}

/** Young inputs more often: what they reached has been explored the least. */
function pickInput(kept: readonly Uint8Array[], random: Random): Uint8Array {
  if (kept.length === 0) return new Uint8Array(0);
  const young = random.chance(0.5) ? Math.max(0, kept.length - 20) : 0;
  return kept[young + random.below(kept.length - young)] ?? new Uint8Array(0);
}

/** The inputs of `kept` that together reach all blocks that they reach, smaller ones first. */
export function distill(target: FuzzTarget, kept: readonly Uint8Array[], coverage: Coverage): readonly Uint8Array[] {
  const bySize = [...kept].sort((one, other) => one.byteLength - other.byteLength);
  return bySize.filter((input) => {
    coverage.skip();
    if (judge(target, input) !== undefined) return false;
    return coverage.learn() === 'block';
  });
}
