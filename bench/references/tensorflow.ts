import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { DType, NamedTensors, Tensor } from '#mesh/tensor.ts';

/** numpy's names, where they are not ours. */
const NUMPY: Partial<Record<DType, string>> = { float: 'float32', double: 'float64', half: 'float16' };
const OURS: Readonly<Record<string, DType>> = Object.fromEntries(Object.entries(NUMPY).map(([dtype, name]) => [name, dtype as DType]));

/** A tensor as `tensorflow-run.py` writes it. */
interface StoredTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly base64: string;
}

/** A signature of a SavedModel in TensorFlow, in a process of its own: one thread in operators, one over them. */
export interface TensorFlowModel extends AsyncDisposable {
  readonly version: string;
  /** Keeps the inputs for `time`, and answers with the outputs. */
  run(inputs: NamedTensors): Promise<NamedTensors>;
  /** Milliseconds of each call with the inputs of the last `run`, for about so long. */
  time(limitMs: number): Promise<readonly number[]>;
}

/** True when this Python has TensorFlow. */
export function hasTensorFlow(python: string): boolean {
  const found = spawnSync(python, ['-c', 'import importlib.util, sys; sys.exit(importlib.util.find_spec("tensorflow") is None)']);
  return found.error === undefined && found.status === 0;
}

/** Loads a SavedModel. Rejects with what Python complains of. */
export async function startTensorFlow(python: string, folder: string, signature: string): Promise<TensorFlowModel> {
  const child = spawn(python, [join(import.meta.dirname, 'tensorflow-run.py'), folder, signature], { stdio: ['pipe', 'pipe', 'pipe'] });
  const complaints: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => complaints.push(text));
  child.stdin.on('error', () => {}); // A process that has ended says why on its stderr.
  const exited = once(child, 'close');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async (): Promise<unknown> => {
    const { value, done } = await lines.next();
    if (!done) return JSON.parse(value);
    await exited;
    throw new Error(`tensorflow-run.py ended: ${complaints.join('').slice(-2000)}`);
  };
  const ask = (request: unknown): Promise<unknown> => {
    child.stdin.write(`${JSON.stringify(request)}\n`);
    return answer();
  };
  const { version } = (await answer()) as { readonly version: string };
  return {
    version,
    async run(inputs) {
      const stored = Object.fromEntries([...inputs].map(([name, tensor]) => [name, toStored(tensor)]));
      const { outputs } = (await ask({ inputs: stored })) as { readonly outputs: Readonly<Record<string, StoredTensor>> };
      return new Map(Object.entries(outputs).map(([name, tensor]) => [name, fromStored(tensor)]));
    },
    async time(limitMs) {
      return ((await ask({ milliseconds: limitMs })) as { readonly times: readonly number[] }).times;
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await exited;
    },
  };
}

function toStored({ dtype, shape, bytes }: Tensor): StoredTensor {
  return { dtype: NUMPY[dtype] ?? dtype, shape, base64: Buffer.from(bytes).toString('base64') };
}

function fromStored({ dtype, shape, base64 }: StoredTensor): Tensor {
  return { dtype: OURS[dtype] ?? (dtype as DType), shape, bytes: new Uint8Array(Buffer.from(base64, 'base64')) };
}
