// node scripts/summary.mjs FILE: prints one line, `N passed, N failed, N skipped`, from what `jest --json --outputFile=FILE` wrote.
import { existsSync, readFileSync } from 'node:fs';

const file = process.argv[2] ?? '';
if (!existsSync(file)) {
  console.error(`headrace: ${file} is missing: Jest ended before it could write its results`);
  console.log('0 passed, 1 failed, 0 skipped');
  process.exit(1);
}
const results = JSON.parse(readFileSync(file, 'utf8'));
// A file that does not even load has no tests to fail; it counts as one failure, as Jest's own exit status does.
const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
console.log(`${results.numPassedTests} passed, ${failed} failed, ${results.numPendingTests + results.numTodoTests} skipped`);
process.exit(failed === 0 && results.numPassedTests > 0 ? 0 : 1);
