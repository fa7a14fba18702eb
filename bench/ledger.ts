/** What the bench found last in each section, kept beside RESULTS.md: a run of one section leaves the figures of the others as they are. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Machine } from './machine.ts';
import type { BenchReport } from './report.ts';
import type { BenchRow, Growth } from './section.ts';

/** One section as it was last run. */
export interface LedgerEntry {
  readonly section: string;
  readonly machine: Machine;
  readonly rounds: number;
  readonly seconds: number;
  /** Empty for a section that was left out. */
  readonly rows: readonly BenchRow[];
  /** Why it was left out; null for one that ran. */
  readonly leftOut: string | null;
  /** Of a section about growth. */
  readonly growth?: Growth;
}

/** Reads a ledger, a JSON object per line; none when there is no file. */
export function readLedger(file: string): readonly LedgerEntry[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as LedgerEntry);
}

/** Writes a ledger. */
export function writeLedger(file: string, entries: readonly LedgerEntry[]): void {
  writeFileSync(file, entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
}

/** The ledger after a run: what the run was asked for replaces what was there. `order` are all sections; others leave the ledger. */
export function mergeRun(ledger: readonly LedgerEntry[], report: BenchReport, order: readonly string[]): readonly LedgerEntry[] {
  const { machine, rounds, seconds } = report;
  const fresh = report.sections.map(({ name, ...found }): LedgerEntry => ({ section: name, machine, rounds, seconds, ...found }));
  const bySection = new Map([...ledger, ...fresh].map((entry) => [entry.section, entry]));
  return order.flatMap((name) => bySection.get(name) ?? []);
}
