/**
 * The least that a swap costs: a process that only loads a model when told to, as often as a server with so many executors does, and lets go of
 * the one before. Started with `fork`; each message is a load, answered when it is done.
 *
 *     loader.ts MODEL INSTANCES
 */
import { InferenceSession } from 'onnxruntime-node';

const [model = '', instances = '1'] = process.argv.slice(2);
let held: readonly InferenceSession[] = [];

process.on('message', async () => {
  const before = held;
  const loaded: InferenceSession[] = [];
  for (let instance = 0; instance < Number(instances); instance++)
    loaded.push(await InferenceSession.create(model, { intraOpNumThreads: 1, interOpNumThreads: 1 }));
  held = loaded;
  for (const session of before) await session.release();
  process.send?.('loaded');
});
