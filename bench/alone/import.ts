/**
 * What one import of a SavedModel costs a process that does nothing else: seconds with the loading of the importer, seconds of a
 * processor, and the most memory the process had resident.
 *
 *     node import.ts FOLDER
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const [folder = ''] = process.argv.slice(2);
const into = mkdtempSync(join(tmpdir(), 'headrace-bench-'));
try {
  const from = performance.now();
  const { importSavedModel } = await import('../../savedmodel/import-saved-model.ts');
  await importSavedModel({ folder, tags: ['serve'], into });
  const seconds = (performance.now() - from) / 1000;
  const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage();
  const cpuSeconds = (userCPUTime + systemCPUTime) / 1e6;
  process.stdout.write(`${JSON.stringify({ seconds, cpuSeconds, peakBytes: maxRSS * 1024 })}\n`);
} finally {
  rmSync(into, { recursive: true });
}
