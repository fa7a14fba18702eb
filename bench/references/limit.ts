/**
 * The most the machine can do without a server: threads that call session.run in a loop on one input. Prints rows per second.
 *
 *     node limit.ts MODEL INPUT DTYPE SHAPE(rows first) SESSIONS THREADS_PER_SESSION MILLISECONDS
 */
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { InferenceSession, Tensor } from 'onnxruntime-node';

/** What one loop runs. */
interface Loop {
  readonly model: string;
  readonly input: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly threads: number;
  readonly milliseconds: number;
  /** Counts loops that are ready: all start together when it reaches `sessions`. */
  readonly gate: Int32Array;
  readonly sessions: number;
}

if (isMainThread) {
  const [model = '', input = '', dtype = '', shape = '', sessions = '', threads = '', milliseconds = ''] = process.argv.slice(2);
  const gate = new Int32Array(new SharedArrayBuffer(4));
  const loop: Loop = {
    model,
    input,
    dtype,
    shape: JSON.parse(shape) as number[],
    threads: Number(threads),
    milliseconds: Number(milliseconds),
    gate,
    sessions: Number(sessions),
  };
  const workers = Array.from({ length: loop.sessions }, () => new Worker(new URL(import.meta.url), { workerData: loop }));
  const rates = await Promise.all(workers.map(async (worker) => ((await once(worker, 'message')) as [number])[0]));
  process.stdout.write(`${JSON.stringify({ rowsPerSecond: rates.reduce((sum, rate) => sum + rate, 0) })}\n`);
  process.exit(0);
} else {
  parentPort?.postMessage(await runLoop(workerData as Loop));
}

/** Rows per second of this thread's loop. */
async function runLoop(loop: Loop): Promise<number> {
  const session = await InferenceSession.create(loop.model, {
    intraOpNumThreads: loop.threads,
    interOpNumThreads: 1,
    extra: { session: { intra_op: { allow_spinning: loop.threads > 1 ? '1' : '0' } } },
  });
  const count = loop.shape.reduce((product, dim) => product * dim, 1);
  const tensor =
    loop.dtype === 'int64'
      ? new Tensor('int64', new BigInt64Array(count).fill(7n), loop.shape)
      : new Tensor('float32', new Float32Array(count).fill(0.5), loop.shape);
  const feeds = { [loop.input]: tensor };
  await session.run(feeds);
  // Creating a session blocks its thread only: wait until every loop has its own.
  if (Atomics.add(loop.gate, 0, 1) + 1 === loop.sessions) Atomics.notify(loop.gate, 0);
  for (let ready = Atomics.load(loop.gate, 0); ready < loop.sessions; ready = Atomics.load(loop.gate, 0))
    Atomics.wait(loop.gate, 0, ready, 30_000);
  const startedAt = performance.now();
  let runs = 0;
  let now = startedAt;
  while (now - startedAt < loop.milliseconds) {
    await session.run(feeds);
    runs++;
    now = performance.now();
  }
  return (runs * (loop.shape[0] ?? 1) * 1000) / (now - startedAt);
}
