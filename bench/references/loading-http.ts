/**
 * The least that a swap costs a server that loads in threads of its own process, as onnxruntime-node makes every server do: node:http answers a
 * constant, and otherwise nothing happens but loads. Started with `fork`; each message is a swap: one thread after the other loads the model and
 * lets go of the one before.
 *
 *     loading-http.ts PORT MODEL THREADS
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

if (isMainThread) serve(process.argv.slice(2));
else await load();

function serve([port = '', model = '', threads = '1']: readonly string[]): void {
  const loaders = Array.from({ length: Number(threads) }, () => new Worker(new URL(import.meta.url), { workerData: model }));
  const answer = Buffer.from('{"predictions": [2.5]}');
  createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': answer.length });
      response.end(answer);
    });
  }).listen(Number(port), '127.0.0.1', () => process.send?.('listening'));
  process.on('message', async () => {
    for (const loader of loaders) {
      loader.postMessage('load');
      await once(loader, 'message');
    }
    process.send?.('loaded');
  });
}

async function load(): Promise<void> {
  const { InferenceSession } = await import('onnxruntime-node');
  let held: { release(): Promise<void> } | undefined;
  parentPort?.on('message', async () => {
    const before = held;
    held = await InferenceSession.create(workerData, { intraOpNumThreads: 1, interOpNumThreads: 1 });
    await before?.release();
    parentPort?.postMessage('loaded');
  });
}
