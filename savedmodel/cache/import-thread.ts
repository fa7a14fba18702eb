/** The body of a thread that imports one SavedModel and ends. */
import { parentPort, workerData } from 'node:worker_threads';
import { toServeError } from '#mesh/errors.ts';
import type { FromImportThread, ImporterModule, ImportThreadData } from './import-in-thread.ts';
import { isDiskFull } from './system-error.ts';

const port = parentPort;
if (port === null) throw new Error('import-thread.ts runs in a worker thread only');
const tell = (message: FromImportThread) => port.postMessage(message);
const { importer, ...order } = workerData as ImportThreadData;
try {
  const { importSavedModel } = (await import(importer)) as ImporterModule;
  await importSavedModel({
    ...order,
    onProgress: (percent, doing) => tell({ type: 'progress', percent, doing }),
    onUserCode: (name) => tell({ type: 'user-code', name }),
  });
  tell({ type: 'done' });
} catch (caught) {
  const { code, message } = toServeError(caught);
  tell({ type: 'failed', code, message, diskFull: isDiskFull(caught) });
}
