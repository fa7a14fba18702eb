/** The body of a process that asks a servable module what one version will take. It is told, answers, and is ended. */
import type { ServableId } from '#mesh/ids.ts';
import type { UserModule } from '../runtime.ts';
import { startOrphanWatch } from '../user-code-process/orphan-watch.ts';
import { importAdapter, userError } from './user-module.ts';

/** What the process is told. */
export interface EstimateQuestion {
  readonly module: UserModule;
  readonly path: string;
  readonly servable: ServableId;
}

/** What it answers. */
export type EstimateAnswer =
  | { readonly type: 'estimated'; readonly bytes: number }
  | { readonly type: 'failed'; readonly code: string; readonly message: string };

startOrphanWatch(process.ppid);
process.once('message', async (question) => process.send?.(await answer(question as EstimateQuestion)));

async function answer({ module, path, servable }: EstimateQuestion): Promise<EstimateAnswer> {
  try {
    const adapter = await importAdapter(module);
    const bytes: unknown = await (await adapter(path, { name: servable.name, version: servable.version })).estimate();
    if (typeof bytes === 'number' && bytes >= 0 && Number.isFinite(bytes)) return { type: 'estimated', bytes: Math.ceil(bytes) };
    throw new Error(`the estimate is ${String(bytes)}, which is no number of bytes`);
  } catch (caught) {
    const { code, message } = userError(module, `estimating ${path}`, caught);
    return { type: 'failed', code, message };
  }
}
