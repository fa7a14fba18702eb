import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { mergeRun, readLedger, writeLedger } from '../../bench/ledger.ts';
import { type BenchReport, growthTable, resultsPage } from '../../bench/report.ts';
import type { BenchRow, Growth } from '../../bench/section.ts';

const ORDER = ['rest', 'mesh', 'savedmodel'];

describe("the bench's ledger", () => {
  test('keeps the figures of sections that were not run, with the machine they were taken on', () => {
    const both = mergeRun([], report('2026-01-01', [ran('rest', 1), ran('mesh', 2)]), ORDER);
    const after = mergeRun(both, report('2026-02-02', [ran('savedmodel', 3), ran('mesh', 4)]), ORDER);
    expect(after.map(({ section, machine, rows }) => [section, machine.takenAt, rows[0]?.figure])).toEqual([
      ['rest', '2026-01-01', 1],
      ['mesh', '2026-02-02', 4],
      ['savedmodel', '2026-02-02', 3],
    ]);
    const page = resultsPage(after);
    expect(page.indexOf('## mesh, savedmodel')).toBeGreaterThan(0);
    expect(page.indexOf('## rest')).toBeGreaterThan(page.indexOf('## mesh, savedmodel'));
    expect(page).toContain('| path of rest | ours | 1.00x | ≥ 2.00x | missed |');
  });

  test('says why a section that was asked for was left out, in place of its old figures', () => {
    const before = mergeRun([], report('2026-01-01', [ran('rest', 1)]), ORDER);
    const after = mergeRun(before, report('2026-02-02', [{ name: 'rest', rows: [], leftOut: 'no wrk' }]), ORDER);
    expect(resultsPage(after)).toContain('Left out: rest: no wrk');
    expect(resultsPage(after)).not.toContain('path of rest');
  });

  test('shows growth as a table and a picture below the rows of its run', () => {
    const grown = { ...ran('scale', 3), growth: GROWTH };
    const ledger = mergeRun([], report('2026-01-01', [ran('rest', 1), grown]), ['rest', 'scale']);
    const page = resultsPage(ledger);
    const places = [
      '| path of scale |',
      '1 of 2 targets are missed.',
      '### More models',
      'What bounds it.',
      '![Many models](results/scale.svg)',
    ];
    const table = '| models | MB |\n| --- | --- |\n| 1 | 200 |\n| 1,000 | 1,300 |\n';
    const found = [...places, table, '## What is compared'].map((text) => page.indexOf(text));
    expect(Math.min(...found)).toBeGreaterThan(0);
    expect(found).toEqual([...found].sort((a, b) => a - b));
    expect(growthTable(GROWTH)).toBe('models  MB\n1       200\n1,000   1,300');
  });

  test('says nothing of targets where there are none', () => {
    const rows = ran('scale', 3).rows.map((row) => ({ ...row, target: null }));
    const page = resultsPage(mergeRun([], report('2026-01-01', [{ name: 'scale', rows, leftOut: null }]), ['scale']));
    expect(page).toContain('| path of scale |');
    expect(page).not.toMatch(/targets? (is|are) (met|missed)/);
  });

  test('reads back what it wrote, and nothing where there is no file', () => {
    const folder = mkdtempSync(join(tmpdir(), 'headrace-ledger-'));
    try {
      const file = join(folder, 'ledger.jsonl');
      expect(readLedger(file)).toEqual([]);
      const entries = mergeRun([], report('2026-01-01', [ran('rest', 1), { ...ran('mesh', 2), growth: GROWTH }]), ORDER);
      writeLedger(file, entries);
      expect(readLedger(file)).toEqual(entries);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

const GROWTH: Growth = {
  question: 'More models',
  text: 'What bounds it.',
  columns: ['models', 'MB'],
  rows: [
    ['1', '200'],
    ['1,000', '1,300'],
  ],
  picture: {
    title: 'Many models',
    xTitle: 'models',
    xScale: 'log',
    panels: [
      {
        title: 'MB',
        scale: 'linear',
        series: [
          {
            name: 'mesh',
            points: [
              [1, 200],
              [1000, 1300],
            ],
          },
        ],
      },
    ],
  },
};

function ran(name: string, figure: number) {
  const row: BenchRow = { path: `path of ${name}`, values: ['ours'], figure, unit: 'x', of: '', target: { atLeast: 2 } };
  return { name, rows: [row], leftOut: null };
}

function report(takenAt: string, sections: BenchReport['sections']): BenchReport {
  const machine = {
    processor: 'one',
    cores: 1,
    memoryGiB: 1,
    system: 'any',
    node: 'v24',
    onnxruntime: '1',
    loadGenerator: 'none',
    commit: 'c',
    loadAverage: 0,
    takenAt,
  };
  return { machine, rounds: 1, seconds: 1, sections };
}
