/** The thread that fuzzes one target. Beside it, the main thread watches: this one may hang, or run out of memory. */
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { createRandom } from '../random.ts';
import { readCorpus } from './corpus-file.ts';
import { createCoverage, startCounters } from './coverage.ts';
import { distill, type Finding, fuzz } from './loop.ts';
import { type SharedInput, writeShared } from './shared-input.ts';
import { loadTarget } from './targets/index.ts';

/** What the thread is told. */
export interface LoopOrder {
  readonly name: string;
  readonly seed: number;
  readonly seconds: number;
  /** Ends the loop after so many inputs, whatever the time. */
  readonly runs: number;
  readonly current: SharedInput;
}

/** What the thread says. */
export type LoopWord =
  | { readonly type: 'finding'; readonly finding: Finding }
  | {
      readonly type: 'done';
      readonly runs: number;
      readonly kept: number;
      readonly functions: number;
      readonly idleBytes: number;
      readonly distilled: readonly Uint8Array[];
    };

const ROOT = join(import.meta.dirname, '../../..');

const { name, seed, seconds, runs, current } = workerData as LoopOrder;
const say = (word: LoopWord) => parentPort?.postMessage(word);
// Before the target is loaded: only what is loaded after is counted by blocks.
using counters = startCounters();
const target = await loadTarget(name);
const coverage = createCoverage(counters, ROOT, target.covers);
const endMs = performance.now() + 1000 * seconds;
const result = fuzz({
  target,
  random: createRandom(seed),
  coverage,
  inputs: [...target.seeds(), ...readCorpus(name).map(({ bytes }) => bytes)],
  goOn: (made) => made < runs && performance.now() < endMs,
  onInput: (input) => writeShared(current, input),
  onFinding: (finding) => say({ type: 'finding', finding }),
});
// From nothing known: what the loop has learned makes every input old.
const distilled = distill(target, result.kept, createCoverage(counters, ROOT, target.covers));
say({ type: 'done', runs: result.runs, kept: result.kept.length, ...coverage.totals(), distilled });
