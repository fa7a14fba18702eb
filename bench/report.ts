import type { LedgerEntry } from './ledger.ts';
import type { Machine } from './machine.ts';
import { BENCH_MODELS } from './models/nets.ts';
import { SAVED_NETS } from './models/saved-nets.ts';
import { type BenchRow, type Growth, meetsTarget } from './section.ts';

/** What one section came to. */
export interface SectionReport {
  readonly name: string;
  /** Empty for a section that was left out. */
  readonly rows: readonly BenchRow[];
  /** Why it was left out, or how it failed; null for one that ran. */
  readonly leftOut: string | null;
  /** Of a section about growth. */
  readonly growth?: Growth;
}

/** All that one run of the bench found. */
export interface BenchReport {
  readonly machine: Machine;
  readonly rounds: number;
  readonly seconds: number;
  /** The sections that were asked for, in order. */
  readonly sections: readonly SectionReport[];
}

const COLUMNS = ['path', 'measured', 'figure', 'target', ''] as const;

/** The table for a terminal. */
export function terminalTable(rows: readonly BenchRow[]): string {
  return aligned([COLUMNS, ...rows.map(cells)]);
}

/** A table of growth for a terminal. */
export function growthTable({ columns, rows }: Growth): string {
  return aligned([columns, ...rows]);
}

/** Where the picture of a section lies, from RESULTS.md. */
export function pictureFile(section: string): string {
  return `results/${section}.svg`;
}

/** Lines whose cells stand below each other. */
function aligned(lines: readonly (readonly string[])[]): string {
  const widths = lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? [];
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** bench/RESULTS.md: a table for each run that some section's figures come from, the latest first. */
export function resultsPage(ledger: readonly LedgerEntry[]): string {
  const runs = Map.groupBy(ledger, ({ machine }) => machine.takenAt);
  const latestFirst = [...runs].sort(([one], [other]) => (one < other ? 1 : -1)).map(([, entries]) => entries);
  return `# Results

Written by \`npm run bench -- --write-results\`. Absolute figures drift from run to run and say little about another machine; the ratios were taken
interleaved (A B C A B C …, medians of the rounds) and are what the targets are about. Client and server share the machine.

${latestFirst.map((entries) => runText(entries, latestFirst.length > 1)).join('\n')}
## What is compared

- **naive**: one fastify process that parses JSON and calls \`session.run\` for each request (\`references/naive.ts\`).
- **bare**: a node:http or node:http2 server that reads the request and answers a constant (\`references/bare-http.ts\`, \`bare-http2.ts\`).
- **limit**: threads that call \`session.run\` in a loop, no server, at the best of several batch sizes and ways to use the cores (\`references/limit.ts\`).
- **embedded**: \`services/embedded/main.ts\` with batching on. **mesh**: registry, batcher, worker-gpu and gateway as processes, with nats-server and
  redis-server, all on this machine.
- **imported**: a SavedModel as the importer makes it, run by the worker's runtime. **direct**: the same net written in ONNX, channels first inside,
  with ONNX's own LSTM, LayerNormalization and BatchNormalization, and the weights of the SavedModel (\`models/direct-*.ts\`). **TensorFlow**: a call of
  the signature in Python (\`references/tensorflow-run.py\`). All with one thread inside operators, and answers equal to 1e-4.
- **scale-models**, **scale-workers**, **scale-connections**, **scale-batch**: one thing grows, and everything else stays as it is. Each point takes the
  seconds of one round, and is checked while it is measured: ten requests a second with numbers of their own, whose answers must be right. One
  answer that is wrong, an error, or a process that ends by itself makes the section fail. The load generator shares the processors with the
  server, so requests/s are lower, and latencies longer, than clients elsewhere would see; the processor time of a request is not touched by that.

## What stands in the way

- **The limit of models that keep every core busy**: the loops of the limit have all processors for themselves, and whoever is asked over HTTP has not.
  *The limit beside a bare node:http* is what the loops do while that server takes the same bodies, at the rate at which Headrace answered them, and
  answers a constant: Headrace has to receive, read, batch and answer on what those two leave. What is left of the
  difference, as measured: a row costs executors 1 to 6 % more than the loops, and 3 % of the processors are idle between batches.
- **Swaps**: the target cannot be met in one process on such a machine. The row below each is a node:http that answers a constant while threads of
  its own process load the same model and nothing else happens: its p99 already grows by more than the target allows, in stretches of 1 to 2 ms
  in which its thread is running, not waiting (\`perf sched\`). A swap costs our one thread, on which registry, gateway, batcher and worker meet,
  about 8 ms more in the first 50 ms (decisions, documents, announcements, routing), in pieces below 0.5 ms. In a mesh that is other processes.

Models, with random weights from a fixed seed: ${BENCH_MODELS.map(({ name, what }) => `${name} (${what})`).join('; ')}.
SavedModels, made by \`models/make-savedmodels.py\`: ${SAVED_NETS.map(({ name, what }) => `${name} (${what})`).join('; ')}.
`;
}

function runText(entries: readonly LedgerEntry[], isOneOfMany: boolean): string {
  const [first] = entries;
  if (first === undefined) return '';
  const { machine, rounds, seconds } = first;
  const rows = entries.flatMap((entry) => entry.rows);
  const table = rows.length === 0 ? '' : `${markdownTable(COLUMNS, rows.map(cells))}\n`;
  const missed = rows.filter((row) => !meetsTarget(row)).length;
  const withTarget = rows.filter(({ target }) => target !== null).length;
  const leftOut = entries.flatMap((entry) => (entry.leftOut === null ? [] : [`\nLeft out: ${entry.section}: ${entry.leftOut}\n`]));
  const grown = entries.flatMap(({ section, growth }) => (growth === undefined ? [] : [growthText(section, growth)]));
  const heading = isOneOfMany ? `## ${entries.map(({ section }) => section).join(', ')}\n\n` : '';
  return `${heading}| | |
|---|---|
| commit | ${machine.commit} |
| taken | ${machine.takenAt} |
| rounds | ${rounds} of ${seconds} s |
| processor | ${machine.processor}, ${machine.cores} cores, ${machine.memoryGiB} GiB |
| system | ${machine.system}, Node ${machine.node}, onnxruntime-node ${machine.onnxruntime} |
| load average at the start | ${machine.loadAverage} |
| load generators | ${machine.loadGenerator} |

${table}${withTarget === 0 ? '' : `\n${missed === 0 ? 'Every target is met.' : `${missed} of ${withTarget} targets are missed.`}\n`}${leftOut.join('')}${grown.join('')}`;
}

/** The heading, what bounds the figures, the picture and the table. */
function growthText(section: string, { question, text, columns, rows, picture }: Growth): string {
  return `
### ${question}

${text}

![${picture.title}](${pictureFile(section)})

${markdownTable(columns, rows)}
`;
}

function markdownTable(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  return [columns, columns.map(() => '---'), ...rows].map((line) => `| ${line.join(' | ')} |`).join('\n');
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
  if (unit === 'ms' || unit === 's' || unit === 'MB') return `${value.toFixed(2)} ${unit}`;
  return unit === '/s' ? `${Math.round(value).toLocaleString('en-US')}/s` : `${value} ${unit}`;
}
