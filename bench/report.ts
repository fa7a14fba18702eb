import type { Machine } from './machine.ts';
import { BENCH_MODELS } from './models/nets.ts';
import { type BenchRow, meetsTarget } from './section.ts';

/** All that one run of the bench found. */
export interface BenchReport {
  readonly machine: Machine;
  readonly rounds: number;
  readonly seconds: number;
  readonly sections: readonly string[];
  readonly rows: readonly BenchRow[];
  /** Sections that were left out, with the reason. */
  readonly skipped: readonly string[];
}

const COLUMNS = ['path', 'measured', 'figure', 'target', ''] as const;

/** The table for a terminal. */
export function terminalTable(rows: readonly BenchRow[]): string {
  const lines = [COLUMNS, ...rows.map(cells)];
  const widths = COLUMNS.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** bench/RESULTS.md. */
export function resultsPage({ machine, rounds, seconds, rows, skipped }: BenchReport): string {
  const table = [COLUMNS, COLUMNS.map(() => '---'), ...rows.map(cells)].map((line) => `| ${line.join(' | ')} |`).join('\n');
  const missed = rows.filter((row) => !meetsTarget(row)).length;
  return `# Results

Written by \`npm run bench -- --write-results\`. Absolute figures drift from run to run and say little about another machine; the ratios were taken
interleaved (A B C A B C …, medians of ${rounds} rounds of ${seconds} s) and are what the targets are about. Client and server share the machine.

| | |
|---|---|
| commit | ${machine.commit} |
| taken | ${machine.takenAt} |
| processor | ${machine.processor}, ${machine.cores} cores, ${machine.memoryGiB} GiB |
| system | ${machine.system}, Node ${machine.node}, onnxruntime-node ${machine.onnxruntime} |
| load average at the start | ${machine.loadAverage} |
| load generators | ${machine.loadGenerator} |

${table}

${missed === 0 ? 'Every target is met.' : `${missed} of ${rows.filter(({ target }) => target !== null).length} targets are missed.`}
${skipped.map((line) => `\nLeft out: ${line}\n`).join('')}
## What is compared

- **naive**: one fastify process that parses JSON and calls \`session.run\` for each request (\`references/naive.ts\`).
- **bare**: a node:http or node:http2 server that reads the request and answers a constant (\`references/bare-http.ts\`, \`bare-http2.ts\`).
- **limit**: threads that call \`session.run\` in a loop, no server, at the best of several batch sizes and ways to use the cores (\`references/limit.ts\`).
- **embedded**: \`services/embedded/main.ts\` with batching on. **mesh**: registry, batcher, worker-gpu and gateway as processes, with nats-server and
  redis-server, all on this machine.

Models, with random weights from a fixed seed: ${BENCH_MODELS.map(({ name, what }) => `${name} (${what})`).join('; ')}.
`;
}

function cells(row: BenchRow): readonly string[] {
  const { path, values, of, target } = row;
  const goal =
    target === null ? '' : 'atLeast' in target ? `≥ ${amount(target.atLeast, row.unit)}` : `≤ ${amount(target.atMost, row.unit)}`;
  const verdict = target === null ? '' : meetsTarget(row) ? 'met' : 'missed';
  return [path, values.join(', '), `${amount(row.figure, row.unit)} ${of}`.trim(), goal, verdict];
}

function amount(value: number, unit: BenchRow['unit']): string {
  if (unit === 'x') return `${value.toFixed(2)}x`;
  if (unit === 'ms') return `${value.toFixed(2)} ms`;
  return unit === '/s' ? `${Math.round(value).toLocaleString('en-US')}/s` : `${value} errors`;
}
