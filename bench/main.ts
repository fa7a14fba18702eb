/** Measures the table of targets (see RESULTS.md) and prints figures and ratios: npm run bench -- --help */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hasNatsServer } from '../test/servers/nats-server.ts';
import { hasRedisServer } from '../test/servers/redis-server.ts';
import { hasWrk, WRK_HINT } from './load/wrk.ts';
import { describeMachine } from './machine.ts';
import { makeModels } from './models/folder.ts';
import { parseOptions, usage } from './options.ts';
import { type BenchReport, resultsPage, terminalTable } from './report.ts';
import { type BenchContext, type BenchRow, type BenchSection, meetsTarget } from './section.ts';
import { COMPUTE } from './sections/compute.ts';
import { GRPC } from './sections/grpc.ts';
import { LANES } from './sections/lanes.ts';
import { MESH } from './sections/mesh.ts';
import { PAYLOAD } from './sections/payload.ts';
import { REST } from './sections/rest.ts';
import { SWAPS_SECTION } from './sections/swaps.ts';

const SECTIONS: readonly BenchSection[] = [REST, GRPC, COMPUTE, PAYLOAD, MESH, LANES, SWAPS_SECTION];
const RESULTS = join(import.meta.dirname, 'results');

const options = parseOptions(
  process.argv.slice(2),
  SECTIONS.map(({ name }) => name),
);
if (options === undefined) {
  process.stdout.write(usage(SECTIONS.map(({ name, about }) => `${name.padEnd(10)}${about}`)));
  process.exit(0);
}

const { rounds, seconds } = options;
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const machine = describeMachine();
say(`${machine.processor}, ${machine.cores} cores, Node ${machine.node}, commit ${machine.commit}, load average ${machine.loadAverage}`);
say(`load generators: ${machine.loadGenerator}; ${rounds} rounds of ${seconds} s`);
makeModels();
mkdirSync(RESULTS, { recursive: true });
const context: BenchContext = { rounds, seconds, say, servers: { profile: options.profile, profileFolder: RESULTS, flags: options.flags } };

const rows: BenchRow[] = [];
const skipped: string[] = [];
const ran: string[] = [];
for (const section of SECTIONS.filter(({ name }) => options.only.length === 0 || options.only.includes(name))) {
  const lacking = lacks(section);
  if (lacking !== undefined) {
    skipped.push(`${section.name}: ${lacking}`);
    continue;
  }
  say(`\n${section.name}: ${section.about}`);
  try {
    const found = await section.run(context);
    say(terminalTable(found));
    rows.push(...found);
    ran.push(section.name);
  } catch (problem) {
    skipped.push(`${section.name} failed: ${problem instanceof Error ? problem.message : String(problem)}`);
    say(`  failed: ${problem instanceof Error ? problem.stack : String(problem)}`);
  }
}

const report: BenchReport = { machine, rounds, seconds, sections: ran, rows, skipped };
const file = join(RESULTS, `${machine.takenAt.replace(/[:.]/g, '-')}.json`);
writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
if (options.writeResults) writeFileSync(join(import.meta.dirname, 'RESULTS.md'), resultsPage(report));
say(`\n${terminalTable(rows)}\n`);
for (const line of skipped) say(`left out: ${line}`);
say(`${rows.filter((row) => !meetsTarget(row)).length} targets missed; ${file}`);
process.exit(skipped.some((line) => line.includes(' failed: ')) ? 1 : 0);

function lacks({ needsWrk, needsMesh }: BenchSection): string | undefined {
  if (needsWrk && !hasWrk()) return WRK_HINT;
  if (needsMesh && !(hasNatsServer && hasRedisServer))
    return 'nats-server and redis-server are not installed: apt-get install nats-server redis-server (Debian, Ubuntu)';
  return undefined;
}
