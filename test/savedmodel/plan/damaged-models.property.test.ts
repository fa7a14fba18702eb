/** Damaged SavedModels: whatever bits are flipped, a plan is made or a ServeError says what is wrong. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ServeError } from '#mesh/errors.ts';
import { buildPlan } from '../../../savedmodel/plan/build-plan.ts';
import { HOST_STEP_OPS, ONNX_OPS } from '../../../savedmodel/plan/supported-ops.ts';
import { readSavedModel } from '../../../savedmodel/read/saved-model.ts';
import { patternFolders } from '../goldens/goldens.ts';

const NAMES = ['keras3_conv', 'tf1_dynamic_rnn_lstm', 'tf1_lookup_tables', 'tf2_image_decode', 'tf2_state', 'tf2_while_in_cond'];
const models = patternFolders().filter(({ name }) => NAMES.includes(name));
const folder = mkdtempSync(join(tmpdir(), 'headrace-damaged-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const damages = fc.array(fc.record({ place: fc.double({ min: 0, max: 1, noNaN: true }), bit: fc.nat(7) }), { minLength: 1, maxLength: 5 });

test.each(models.map(({ name, versionDirectory }) => [name, versionDirectory] as const))(
  '%s with flipped bits becomes a plan or a clear error',
  async (name, original) => {
    const directory = join(folder, name);
    cpSync(original, directory, { recursive: true });
    const whole = readFileSync(join(original, 'saved_model.pb'));
    await fc.assert(
      fc.asyncProperty(damages, fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { freq: 10 }), async (flips, cut) => {
        const bytes = Uint8Array.from(whole);
        for (const { place, bit } of flips) {
          const at = Math.min(bytes.length - 1, Math.floor(place * bytes.length));
          bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
        }
        writeFileSync(join(directory, 'saved_model.pb'), cut === null ? bytes : bytes.subarray(0, Math.floor(cut * bytes.length)));
        try {
          const source = await readSavedModel(directory, { tags: ['serve'] });
          await buildPlan(source, { onnxOps: ONNX_OPS, hostOps: HOST_STEP_OPS });
        } catch (caught) {
          if (!(caught instanceof ServeError)) throw caught;
          expect(caught.message).not.toBe('');
        }
      }),
      { numRuns: 60 },
    );
  },
);
