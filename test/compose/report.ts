import type { Tally } from './traffic.ts';

/** Prints one row per step, and a few examples of what went wrong. */
export function printTable(tallies: readonly Tally[]): void {
  const rows = tallies.map((tally) => {
    const sorted = [...tally.latenciesMs].sort((a, b) => a - b);
    const at = (share: number) => (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1);
    const counts = [tally.answered, tally.wrong, tally.failed, tally.reconnected].map(String);
    return [tally.step, ...counts, at(0.5), at(0.99), at(1)];
  });
  const table = [['step', 'answered', 'wrong', 'failed', 'reconnected', 'p50 ms', 'p99 ms', 'max ms'], ...rows];
  const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((row) => (row[column] ?? '').length)));
  for (const row of table)
    console.log(row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  '));
  for (const tally of tallies) for (const example of tally.examples) console.log(`${tally.step}: ${example}`);
}
