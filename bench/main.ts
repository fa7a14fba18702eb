/** Measures the table of targets (see RESULTS.md) and prints figures and ratios: npm run bench -- --help */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hasNatsServer } from '../test/servers/nats-server.ts';
import { hasRedisServer } from '../test/servers/redis-server.ts';
import { mergeRun, readLedger, writeLedger } from './ledger.ts';
import { hasWrk, WRK_HINT } from './load/wrk.ts';
import { describeMachine } from './machine.ts';
import { makeModels } from './models/folder.ts';
import { parseOptions, usage } from './options.ts';
import { drawPicture } from './picture.ts';
import { type BenchReport, growthTable, pictureFile, resultsPage, type SectionReport, terminalTable } from './report.ts';
import { type BenchContext, type BenchSection, meetsTarget } from './section.ts';
import { COMPUTE } from './sections/compute.ts';
import { GRPC } from './sections/grpc.ts';
import { LANES } from './sections/lanes.ts';
import { LARGE } from './sections/large.ts';
import { MESH } from './sections/mesh.ts';
import { PAYLOAD } from './sections/payload.ts';
import { REST } from './sections/rest.ts';
import { SAVEDMODEL } from './sections/savedmodel.ts';
import { SCALE_BATCH } from './sections/scale-batch.ts';
import { SCALE_CONNECTIONS } from './sections/scale-connections.ts';
import { SCALE_MODELS } from './sections/scale-models.ts';
import { SCALE_WORKERS } from './sections/scale-workers.ts';
import { SWAPS_SECTION } from './sections/swaps.ts';

const SECTIONS: readonly BenchSection[] = [
  REST,
  GRPC,
  COMPUTE,
  PAYLOAD,
  LARGE,
  MESH,
  LANES,
  SWAPS_SECTION,
  SAVEDMODEL,
  SCALE_MODELS,
  SCALE_WORKERS,
  SCALE_CONNECTIONS,
  SCALE_BATCH,
];
const NAMES = SECTIONS.map(({ name }) => name);
const RESULTS = join(import.meta.dirname, 'results');
const LEDGER = join(import.meta.dirname, 'RESULTS.jsonl');

const options = parseOptions(process.argv.slice(2), NAMES);
if (options === undefined) {
  process.stdout.write(usage(SECTIONS.map(({ name, about }) => `${name.padEnd(19)}${about}`)));
  process.exit(0);
}

const { rounds, seconds } = options;
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const machine = describeMachine();
say(`${machine.processor}, ${machine.cores} cores, Node ${machine.node}, commit ${machine.commit}, load average ${machine.loadAverage}`);
say(`load generators: ${machine.loadGenerator}; ${rounds} rounds of ${seconds} s`);
makeModels();
mkdirSync(RESULTS, { recursive: true });
const context: BenchContext = {
  rounds,
  seconds,
  most: options.most,
  say,
  servers: { profile: options.profile, profileFolder: RESULTS, flags: options.flags },
  python: options.python || (process.env.HEADRACE_BENCH_PYTHON ?? ''),
};

// Servers are ended and folders removed on exit, each by a listener; without one of its own a signal would leave them.
process.setMaxListeners(100);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));

const sections: SectionReport[] = [];
let failures = 0;
for (const section of SECTIONS.filter(({ name }) => options.only.length === 0 || options.only.includes(name))) {
  const { name } = section;
  const lacking = lacks(section);
  if (lacking !== undefined) {
    sections.push({ name, rows: [], leftOut: lacking });
    continue;
  }
  say(`\n${name}: ${section.about}`);
  try {
    const found = await section.run(context);
    const report: SectionReport = 'growth' in found ? { name, leftOut: null, ...found } : { name, leftOut: null, rows: found };
    if (report.growth !== undefined) say(`${growthTable(report.growth)}\n`);
    say(terminalTable(report.rows));
    sections.push(report);
  } catch (problem) {
    failures++;
    sections.push({ name, rows: [], leftOut: `it failed: ${messageOf(problem)}` });
    say(`  failed: ${messageOf(problem)}\n${problem instanceof Error ? problem.stack : ''}`);
  }
}

const report: BenchReport = { machine, rounds, seconds, sections };
const rows = sections.flatMap((section) => section.rows);
const file = join(RESULTS, `${machine.takenAt.replace(/[:.]/g, '-')}.json`);
writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
if (options.writeResults) {
  const ledger = mergeRun(readLedger(LEDGER), report, NAMES);
  writeLedger(LEDGER, ledger);
  writeFileSync(join(import.meta.dirname, 'RESULTS.md'), resultsPage(ledger));
  for (const { section, growth } of ledger) {
    if (growth !== undefined) writeFileSync(join(import.meta.dirname, pictureFile(section)), drawPicture(growth.picture));
  }
}
say(`\n${terminalTable(rows)}\n`);
for (const { name, leftOut } of sections) {
  if (leftOut !== null) say(`left out: ${name}: ${leftOut}`);
}
say(`${rows.filter((row) => !meetsTarget(row)).length} targets missed; ${file}`);
process.exit(failures > 0 ? 1 : 0);

/** What went wrong, and then what went wrong while its servers were ended. */
function messageOf(problem: unknown): string {
  if (problem instanceof SuppressedError) return `${messageOf(problem.suppressed)}; then: ${messageOf(problem.error)}`;
  return problem instanceof Error ? problem.message : String(problem);
}

function lacks({ needsWrk, needsMesh }: BenchSection): string | undefined {
  if (needsWrk && !hasWrk()) return WRK_HINT;
  if (needsMesh && !(hasNatsServer && hasRedisServer))
    return 'nats-server and redis-server are not installed: apt-get install nats-server redis-server (Debian, Ubuntu)';
  return undefined;
}
