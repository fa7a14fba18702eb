/** docs/reliability.md: what is promised and how it is tested, with the tables of the last runs. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Machine } from '../../bench/machine.ts';
import type { LoadOutcome } from './open-loop.ts';
import type { OverloadReport } from './overload.ts';
import type { Slope } from './slope.ts';
import type { SoakReport } from './soak.ts';
import type { Tally } from './traffic.ts';

/** A run and where it was made. */
interface Run<Report> {
  readonly machine: Machine;
  readonly seed: number;
  readonly report: Report;
}

/** The last run of each kind. */
export interface Results {
  readonly faults?: Run<{ readonly tallies: readonly Tally[]; readonly skipped: readonly string[] }>;
  readonly overload?: Run<OverloadReport>;
  readonly soak?: Run<SoakReport>;
}

const LEDGER = join(import.meta.dirname, 'results.json');
const PAGE = join(import.meta.dirname, '../../docs/reliability.md');
const TEMPLATE = join(import.meta.dirname, 'reliability.template.md');

/** Replaces what this run found and writes the page; what other runs found stays. */
export function writeResults(found: Results): void {
  const before = existsSync(LEDGER) ? (JSON.parse(readFileSync(LEDGER, 'utf8')) as Results) : {};
  const results = { ...before, ...found };
  writeFileSync(
    LEDGER,
    `${JSON.stringify(results, (_, value) => (typeof value === 'number' ? Math.round(value * 1000) / 1000 : value), 1)}\n`,
  );
  writeFileSync(PAGE, resultsPage(readFileSync(TEMPLATE, 'utf8'), results));
}

/** The page: the template with a table in each place `{{name}}`. */
export function resultsPage(template: string, { faults, overload, soak }: Results): string {
  return template
    .replace('{{faults}}', () =>
      faults ? `${provenance(faults)}\n\n${faultTable(faults.report.tallies)}${skips(faults.report.skipped)}` : NONE,
    )
    .replace('{{overload}}', () => (overload ? `${provenance(overload)}\n\n${overloadTable(overload.report)}` : NONE))
    .replace('{{soak}}', () => (soak ? `${provenance(soak)}\n\n${soakText(soak.report)}` : NONE));
}

const NONE = 'Not measured yet.';

/** One row per step, for people. */
export function faultTable(tallies: readonly Tally[]): string {
  const head = ['fault', 'sent', 'answered', 'refused', 'failed', 'wrong', 'asked elsewhere', 'disturbed for', 'p99'];
  const rows = tallies.map((tally) => [
    tally.step,
    ...[tally.sent, tally.answered, tally.refused, tally.failed, tally.wrong, tally.reconnected].map(String),
    tally.steadyAfterMs === null ? '' : `${(tally.steadyAfterMs / 1000).toFixed(1)} s`,
    `${tally.p99Ms.toFixed(0)} ms`,
  ]);
  return table([head, ...rows]);
}

/** The stretches of an overload side by side. */
export function overloadTable({ peaks, overload, deadlineMs, peakPerSecond, goodputShare }: OverloadReport): string {
  const head = ['load', 'sent', 'answered in time', 'refused', 'late', 'failed', 'wrong', 'accepted p50 / p99', 'refused p50 / p90 / p99'];
  const row = (name: string, load: LoadOutcome) => [
    name,
    `${(load.sent / load.seconds).toFixed(0)}/s`,
    `${(load.answered / load.seconds).toFixed(0)}/s`,
    ...[load.refused, load.late, load.failed, load.wrong].map(String),
    `${load.acceptedP50Ms.toFixed(0)} / ${load.acceptedP99Ms.toFixed(0)} ms`,
    load.refused === 0 ? '' : `${[load.refusedP50Ms, load.refusedP90Ms, load.refusedP99Ms].map((ms) => ms.toFixed(1)).join(' / ')} ms`,
  ];
  const [before, after] = peaks;
  const rows = [
    ...(before ? [row('what the mesh can do, before', before)] : []),
    row('twice that', overload),
    ...(after ? [row('what the mesh can do, after', after)] : []),
  ];
  return `Deadline ${deadlineMs} ms; goodput is ${(100 * goodputShare).toFixed(0)} % of the peak of ${peakPerSecond.toFixed(0)}/s.\n\n${table([head, ...rows])}`;
}

/** What a soak found, for people. */
export function soakText({ minutes, faults, swaps, total, p50Ms, p99Ms, trends, problems }: SoakReport): string {
  const head = ['process', 'RSS', 'its slope (95 %)', 'after collection', 'its slope (95 %)', 'descriptors', 'timers'];
  const rows = trends.map((trend) => [
    trend.name,
    `${trend.rssMB.map((megabytes) => megabytes.toFixed(0)).join(' → ')} MB`,
    slopeText(trend.rssSlope),
    `${trend.liveMB.map((megabytes) => megabytes.toFixed(1)).join(' → ')} MB`,
    slopeText(trend.liveSlope),
    trend.descriptors.join(' → '),
    trend.timers.join(' → '),
  ]);
  const counts = `${total.sent} requests: ${total.answered} answered, ${total.refused} refused, ${total.failed} failed, ${total.wrong} wrong, ${total.reconnected} asked again at another gateway.`;
  const latency = `Calm stretches, first and last quarter: p50 ${p50Ms.map((ms) => ms.toFixed(1)).join(' → ')} ms, p99 ${p99Ms.map((ms) => ms.toFixed(0)).join(' → ')} ms.`;
  const verdict = problems.length === 0 ? '' : `\n\nNot as promised: ${problems.join('; ')}.`;
  return `${minutes} minutes, ${faults} faults, ${swaps} swaps and back. ${counts} ${latency}${verdict}\n\n${table([head, ...rows])}`;
}

function slopeText({ slope, low, high }: Slope): string {
  const bounds = [low, high].map((bound) => (Number.isFinite(bound) ? bound.toFixed(1) : '?'));
  return `${slope.toFixed(1)} MB/h (${bounds.join(' to ')})`;
}

function provenance<Report>({ machine, seed }: Run<Report>): string {
  return `Taken ${machine.takenAt.slice(0, 16).replace('T', ' ')} at commit ${machine.commit}, seed ${seed}, on ${machine.processor}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.system}, Node ${machine.node}; load average at the start ${machine.loadAverage}.`;
}

function skips(skipped: readonly string[]): string {
  return skipped.length === 0 ? '' : `\n\nSkipped: ${skipped.join('; ')}.`;
}

function table(rows: readonly (readonly string[])[]): string {
  const [head = [], ...rest] = rows;
  const widths = head.map((_, column) => Math.max(3, ...rows.map((row) => (row[column] ?? '').length)));
  const line = (row: readonly string[]) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rest.map(line)].join('\n');
}
