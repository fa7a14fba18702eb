/**
 * Loads broken ONNX models one after the other, and runs what loads: in a process of its own, which a crash in native code may end. Arguments: the
 * seed, how many, and a file that holds the model under way. Prints what became of them as JSON.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServeError } from '#mesh/errors.ts';
import { DTYPES } from '#mesh/tensor.ts';
import { createRuntime } from '../../services/worker-gpu/runtimes/onnx.ts';
import { affine, lookup, sumOfRows } from '../worker-gpu/models.ts';
import { createRandom } from './random.ts';

const [, , seed = '1', count = '10', current = ''] = process.argv;
const random = createRandom(Number(seed));
const models = [affine(0.5, 2), lookup(), sumOfRows()];
const folder = mkdtempSync(join(tmpdir(), 'headrace-broken-'));
const ended: Record<string, number> = {};
const note = (what: string) => {
  ended[what] = (ended[what] ?? 0) + 1;
};

function broken(): Uint8Array {
  const bytes = Buffer.from(random.pick(models));
  if (random.chance(0.3)) return bytes.subarray(0, random.below(bytes.byteLength));
  for (let flips = 1 + random.below(3); flips > 0; flips--) {
    const at = random.below(bytes.byteLength);
    bytes[at] = random.chance(0.5) ? (bytes[at] ?? 0) ^ (1 << random.below(8)) : random.pick([0, 1, 7, 0x7f, 0x80, 0xff]);
  }
  return bytes;
}

for (let made = 0; made < Number(count); made++) {
  const bytes = broken();
  writeFileSync(current, bytes);
  writeFileSync(join(folder, 'model.onnx'), bytes);
  try {
    const model = await createRuntime().load({ path: folder, intraOpThreads: 1, interOpThreads: 1, executionProviders: ['cpu'] });
    const signature = model.description.signatures.serving_default;
    const inputs = Object.entries(signature?.inputs ?? {}).map(
      ([name, { dtype }]) => [name, { dtype, shape: [3], bytes: new Uint8Array(3 * DTYPES[dtype].byteSize) }] as const,
    );
    await model.run('serving_default', Object.keys(signature?.outputs ?? {}), new Map(inputs));
    await model.close();
    note('ran');
  } catch (caught) {
    note(caught instanceof ServeError ? caught.code : `not a ServeError: ${String(caught).slice(0, 200)}`);
  }
}
rmSync(folder, { recursive: true });
console.log(JSON.stringify(ended));
