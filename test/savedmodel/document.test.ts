import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { HOST_OPS } from '../../savedmodel/host/index.ts';
import { HOST_STEP_OPS } from '../../savedmodel/plan/supported-ops.ts';
import { TRANSLATORS } from '../../savedmodel/translate/translators.ts';
import { savedModelDocument } from '../../scripts/savedmodel-document.ts';

const DOCS = join(import.meta.dirname, '../../docs');
const template = readFileSync(join(DOCS, 'savedmodel.template.md'), 'utf8');

/** The ops of a table under a heading. */
function tabled(document: string, heading: string): readonly string[] {
  const section = document.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
  return [...section.matchAll(/^\| (\w+) \|/gm)].map((match) => match[1] ?? '').slice(1);
}

describe('docs/savedmodel.md', () => {
  test('is what the code supports (npm run docs:savedmodel writes it)', async () => {
    expect(readFileSync(join(DOCS, 'savedmodel.md'), 'utf8')).toBe(await savedModelDocument(template));
  });

  test('lists at least 180 graph ops and 80 host ops, each of which the importer takes', () => {
    const document = readFileSync(join(DOCS, 'savedmodel.md'), 'utf8');
    const [graphOps, hostOps] = [tabled(document, 'Graph ops'), tabled(document, 'Host ops')];
    expect(graphOps.length).toBeGreaterThanOrEqual(180);
    expect(hostOps.length).toBeGreaterThanOrEqual(80);
    expect(graphOps.filter((op) => !TRANSLATORS.has(op))).toEqual([]);
    expect(hostOps.filter((op) => !HOST_OPS.has(op) || !HOST_STEP_OPS.has(op))).toEqual([]);
    expect([graphOps.length, hostOps.length]).toEqual([TRANSLATORS.size, HOST_OPS.size]);
  });

  test('lists every op over variables, tables and lists among those that can be host steps', () => {
    const document = readFileSync(join(DOCS, 'savedmodel.md'), 'utf8');
    const section = document.split('\n## Variables, tables and lists\n')[1]?.split('\n## ')[0] ?? '';
    const ops = [...section.matchAll(/: (.*)\.$/gm)].flatMap((match) => (match[1] ?? '').split(', '));
    expect(ops.length).toBeGreaterThan(100);
    expect(ops.filter((op) => !HOST_STEP_OPS.has(op))).toEqual([]);
  });

  test.each([
    ['a part that nothing fills', `${template}{{moon}}`, '{{moon}}'],
    ['a part that is left out', template.replace('{{host-ops}}', ''), '{{host-ops}}'],
  ])('a template with %s is refused', async (_what, text, named) => {
    await expect(savedModelDocument(text)).rejects.toThrow(named);
  });
});
