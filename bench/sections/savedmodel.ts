import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SavedModelSubject, SavedModelTimes, SavedModelWay } from '../alone/savedmodel.ts';
import { hasWrk, WRK_HINT } from '../load/wrk.ts';
import { writeLargeSavedModel } from '../models/large-saved-model.ts';
import { SAVED_NETS, type SavedNet, versionFolder } from '../models/saved-nets.ts';
import { runScript } from '../node-script.ts';
import { hasTensorFlow } from '../references/tensorflow.ts';
import { median, medianRatio } from '../rounds.ts';
import { type BenchContext, type BenchRow, type BenchSection, milliseconds } from '../section.ts';
import { serveImported } from './savedmodel-served.ts';

const SHARED_MODELS = join(import.meta.dirname, '../../../shared/models');
/** Models beside the repository, with golden answers, that have no ONNX counterpart. */
const SHARED = ['mobilenet_v2_035', 'bilstm_tagger', 'transformer_tiny', 'deeplab_like'];
const ROWS = [1, 16];
/** Each round of the bench is cut into so many slices per way: what disturbs the machine for a moment touches all ways alike. */
const SLICES_PER_ROUND = 3;
const LIMIT_MS = 300_000;

const IMPORTS = [
  { what: '10 MB', size: { channels: 64, layers: 68 }, target: { seconds: 1, memory: null }, most: 5 },
  { what: '500 MB', size: { channels: 512, layers: 53 }, target: { seconds: 15, memory: 3 }, most: 2 },
] as const;

/** SavedModels as the importer makes them, against the same nets written in ONNX, against TensorFlow, and the import itself. */
export const SAVEDMODEL: BenchSection = {
  name: 'savedmodel',
  about: 'imported SavedModels against their ONNX exports and TensorFlow; imports of 10 and 500 MB; through embedded',
  needsWrk: false,
  needsMesh: false,
  async run(context) {
    const python = pythonWithTensorFlow(context);
    const rows: BenchRow[] = [];
    for (const net of SAVED_NETS) {
      const times = await measure(context, { folder: versionFolder(net), net: net.name, python });
      rows.push(...netRows(net, times));
    }
    for (const name of SHARED) {
      const folder = join(SHARED_MODELS, name, '1');
      if (!existsSync(folder)) context.say(`  ${name}: left out, ../shared/models has none`);
      else rows.push(...sharedRows(name, await measure(context, { folder, net: '', python })));
    }
    for (const one of IMPORTS) rows.push(...(await importRows(context, one)));
    if (hasWrk()) rows.push(await serveImported(context));
    else context.say(`  through embedded: left out, ${WRK_HINT}`);
    return rows;
  },
};

function pythonWithTensorFlow({ python, say }: BenchContext): string {
  if (python === '') say('  TensorFlow itself is left out: --python PATH (or HEADRACE_BENCH_PYTHON) names a Python that has it');
  else if (!hasTensorFlow(python)) say(`  TensorFlow itself is left out: ${python} does not have it`);
  else return python;
  return '';
}

function measure(context: BenchContext, subject: Pick<SavedModelSubject, 'folder' | 'net' | 'python'>): Promise<SavedModelTimes> {
  const slices = context.rounds * SLICES_PER_ROUND;
  const whole: SavedModelSubject = { ...subject, rows: ROWS, slices, sliceMs: Math.min(50, context.seconds * 10) };
  return runScript<SavedModelTimes>('alone/savedmodel.ts', [JSON.stringify(whole)], LIMIT_MS);
}

function netRows({ what }: SavedNet, times: SavedModelTimes): readonly BenchRow[] {
  const rows = times.byRows.flatMap((one): readonly BenchRow[] => {
    const path = `imported, in process, ${what}, ${rowsText(one.rows)}`;
    const [alone] = against(path, one.times, 'importedSession', 'directSession', '', null);
    return [
      ...against(path, one.times, 'imported', 'direct', 'the time of its ONNX export', { atMost: 1.05 }).map((row) => ({
        ...row,
        values:
          alone === undefined ? row.values : [...row.values, `session.run alone ${alone.figure.toFixed(2)}x (${alone.values.join(', ')})`],
      })),
      ...against(path, one.times, 'imported', 'tensorflow', `the time of TensorFlow ${times.tensorflow}`, null),
    ];
  });
  return [...rows, ...transposeRows(what, times)];
}

function sharedRows(name: string, times: SavedModelTimes): readonly BenchRow[] {
  return times.byRows.map((one): BenchRow => {
    const path = `imported, in process, ${name}, ${rowsText(one.rows)}`;
    const [ratio] = against(path, one.times, 'imported', 'tensorflow', `the time of TensorFlow ${times.tensorflow}`, null);
    if (ratio !== undefined) return ratio;
    const ms = median(one.times.imported ?? []);
    return { path, values: [`imported ${milliseconds(ms)}`], figure: ms, unit: 'ms', of: 'a run', target: null };
  });
}

/** A row, or none when one of the two ways was not measured. */
function against(
  path: string,
  times: SavedModelTimes['byRows'][number]['times'],
  way: SavedModelWay,
  reference: SavedModelWay,
  of: string,
  target: BenchRow['target'],
): readonly BenchRow[] {
  const [ours, theirs] = [times[way], times[reference]];
  if (ours === undefined || theirs === undefined) return [];
  const name = (one: SavedModelWay) => one.replace('Session', '').replace('tensorflow', 'TensorFlow');
  const values = [`${name(way)} ${milliseconds(median(ours))}`, `${name(reference)} ${milliseconds(median(theirs))}`];
  return [{ path, values, figure: medianRatio(ours, theirs), unit: 'x', of, target }];
}

function transposeRows(what: string, { imported, direct }: SavedModelTimes): readonly BenchRow[] {
  if (direct === null) return [];
  const sum = (count: 'nodes' | 'transposes' | 'reorders') => imported.reduce((total, one) => total + one[count], 0);
  const text = (nodes: number, transposes: number, reorders: number) => `${nodes} nodes, ${transposes} Transpose, ${reorders} Reorder`;
  return [
    {
      path: `imported, after onnxruntime's optimiser, ${what}`,
      values: [
        `imported ${text(sum('nodes'), sum('transposes'), sum('reorders'))}`,
        `direct ${text(direct.nodes, direct.transposes, direct.reorders)}`,
      ],
      figure: sum('transposes') + sum('reorders'),
      unit: 'transposes',
      of: '',
      target: { atMost: direct.transposes + direct.reorders },
    },
  ];
}

async function importRows(context: BenchContext, { what, size, target, most }: (typeof IMPORTS)[number]): Promise<readonly BenchRow[]> {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-bench-'));
  try {
    const modelBytes = writeLargeSavedModel(folder, size);
    const runs: { readonly seconds: number; readonly cpuSeconds: number; readonly peakBytes: number }[] = [];
    for (let round = 0; round < Math.min(context.rounds, most); round++) {
      runs.push(await runScript('alone/import.ts', [folder], LIMIT_MS));
    }
    const seconds = median(runs.map((run) => run.seconds));
    const cpuSeconds = median(runs.map((run) => run.cpuSeconds));
    const peakBytes = median(runs.map((run) => run.peakBytes));
    const path = `import of ${what}, ${size.layers} convolutions with batch normalisation`;
    return [
      {
        path,
        values: [`${seconds.toFixed(2)} s, ${cpuSeconds.toFixed(2)} s of a processor`],
        figure: seconds,
        unit: 's',
        of: '',
        target: { atMost: target.seconds },
      },
      {
        path,
        values: [`at most ${megabytes(peakBytes)} resident, variables ${megabytes(modelBytes)}`],
        figure: peakBytes / modelBytes,
        unit: 'x',
        of: "the model's size",
        target: target.memory === null ? null : { atMost: target.memory },
      },
    ];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function rowsText(rows: number): string {
  return rows === 1 ? '1 row' : `${rows} rows`;
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`;
}
