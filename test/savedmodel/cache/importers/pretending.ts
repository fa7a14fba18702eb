/** An importer for tests: what it does stands in `saved_model.pb`, as JSON. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ServeError } from '#mesh/errors.ts';
import type { ImporterModule } from '../../../../savedmodel/cache/import-in-thread.ts';
import { PLAN_VERSION } from '../../../../savedmodel/plan/plan.ts';

/** What an import is to do. */
export interface Script {
  /** Writes this as a plan's remark. */
  readonly remark?: string;
  /** Writes half of a plan, then refuses with this. */
  readonly refuse?: string;
  /** Writes half of a plan, then runs for ever. */
  readonly hang?: boolean;
  /** The disk has no room. */
  readonly full?: boolean;
  /** Leaves without a word. */
  readonly exit?: number;
  /** Throws what is no ServeError, outside of any promise. */
  readonly crash?: string;
}

/** See {@link ImporterModule}. */
export const importSavedModel: ImporterModule['importSavedModel'] = async ({ folder, tags, into, onProgress }) => {
  const script = JSON.parse(readFileSync(join(folder, 'saved_model.pb'), 'utf8')) as Script;
  onProgress(50, `reading { ${tags.join(' ')} }`);
  writeFileSync(join(into, 'half.onnx'), 'x');
  if (script.refuse !== undefined) throw new ServeError('UNIMPLEMENTED', script.refuse);
  if (script.full) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  if (script.exit !== undefined) process.exit(script.exit);
  if (script.crash !== undefined) {
    const { crash } = script;
    setImmediate(() => {
      throw new Error(crash);
    });
    await new Promise(() => {});
  }
  for (; script.hang; );
  const plan = { version: PLAN_VERSION, signatures: {}, segments: [], constants: [], tables: [], variables: [], remarks: [script.remark] };
  writeFileSync(join(into, 'plan.json'), JSON.stringify(plan));
};
