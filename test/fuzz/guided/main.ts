/**
 * `npm run fuzz -- [TARGET…] [--minutes N] [--runs N] [--seed N] [--save]`: fuzzes one target after the other, guided by coverage. What it finds is
 * written to the target's file under `corpus/`, where `corpus.test.ts` runs it ever after; with --save, so is a small set of inputs that reach
 * everything that was reached. Exit status 1 when something was found.
 */
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { readCorpus, writeCorpus } from './corpus-file.ts';
import type { Finding } from './loop.ts';
import type { LoopOrder, LoopWord } from './loop-thread.ts';
import { createSharedInput, readShared } from './shared-input.ts';
import { TARGET_NAMES } from './targets/index.ts';

/** An input that takes longer hangs; a machine that is busy with others must not. */
const HANG_MS = 60_000;
const HEAP_MB = 1024;
/** A target's file holds no more than this. */
const MOST_CORPUS_BYTES = 12_000;
/** A line's share of that, beside its bytes. */
const LINE_BYTES = 14;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string', default: '1' },
    runs: { type: 'string', default: 'Infinity' },
    seed: { type: 'string', default: String(Math.trunc(performance.timeOrigin) % 1_000_000) },
    save: { type: 'boolean', default: false },
  },
});
const unknown = positionals.filter((name) => !TARGET_NAMES.includes(name));
if (unknown.length > 0) throw new Error(`no target is named ${unknown.join(', ')}; there are: ${TARGET_NAMES.join(', ')}`);

function fuzzInThread(
  name: string,
): Promise<{ readonly findings: readonly Finding[]; readonly done?: Extract<LoopWord, { type: 'done' }> }> {
  const current = createSharedInput(1 << 20);
  const findings: Finding[] = [];
  const workerData: LoopOrder = {
    name,
    seed: Number(values.seed),
    seconds: 60 * Number(values.minutes),
    runs: Number(values.runs),
    current,
  };
  const thread = new Worker(new URL('./loop-thread.ts', import.meta.url), {
    workerData,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
  });
  return new Promise((resolve, reject) => {
    let last = 0;
    const watch = setInterval(() => {
      const { number, input } = readShared(current);
      if (number === last && number > 0) {
        findings.push({ breach: { kind: 'hang', why: `no end within ${HANG_MS} ms` }, input });
        void thread.terminate();
      }
      last = number;
    }, HANG_MS);
    let done: Extract<LoopWord, { type: 'done' }> | undefined;
    thread.on('message', (word: LoopWord) => {
      if (word.type === 'finding') findings.push(word.finding);
      else {
        done = word;
        clearInterval(watch);
      }
    });
    thread.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ERR_WORKER_OUT_OF_MEMORY') reject(error);
      else findings.push({ breach: { kind: 'memory', why: `more than ${HEAP_MB} MB` }, input: readShared(current).input });
    });
    thread.on('exit', () => {
      clearInterval(watch);
      resolve(done === undefined ? { findings } : { findings, done });
    });
  });
}

function save(name: string, findings: readonly Finding[], distilled: readonly Uint8Array[] | undefined): void {
  const before = readCorpus(name);
  const broke = [
    ...before.filter(({ why }) => why !== undefined),
    ...findings.map(({ breach, input }) => ({ bytes: input, why: `${breach.kind}: ${breach.why}` })),
  ];
  let spent = 0;
  const fits = (bytes: Uint8Array) => {
    spent += Math.ceil(bytes.byteLength / 3) * 4 + LINE_BYTES;
    return spent <= MOST_CORPUS_BYTES;
  };
  const reach =
    values.save && distilled !== undefined
      ? distilled.filter(fits).map((bytes) => ({ bytes }))
      : before.filter(({ why }) => why === undefined);
  if (findings.length > 0 || values.save) writeCorpus(name, [...broke, ...reach]);
}

let failed = false;
for (const name of positionals.length > 0 ? positionals : TARGET_NAMES) {
  const { findings, done } = await fuzzInThread(name);
  const how =
    done === undefined
      ? 'ended early'
      : `${done.runs} inputs, ${done.kept} kept, ${done.functions} functions entered, ${done.idleBytes} characters of them never run`;
  console.log(`${name} (seed ${values.seed}): ${how}, ${findings.length} findings`);
  for (const { breach, input } of findings) {
    failed = true;
    console.log(`  ${breach.kind}: ${breach.why}\n    ${JSON.stringify(Buffer.from(input).toString('latin1').slice(0, 200))}`);
  }
  save(name, findings, done?.distilled);
}
process.exitCode = failed ? 1 : 0;
