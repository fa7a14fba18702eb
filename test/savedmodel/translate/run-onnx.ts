/**
 * Runs ONNX models with onnxruntime in a child process under plain node: the runtime's native code does not belong in a test runner's vm, and
 * a crash of it must fail one test file and not the runner. One child runs many models.
 */
import { spawnSync } from 'node:child_process';
import { deserialize, serialize } from 'node:v8';
import { DTYPES, type DType, elementCount, type Tensor } from '#mesh/tensor.ts';

/** A model and what to feed it, once or more often. */
export interface OnnxJob {
  /** The bytes of a model, or its file: needed when constants lie beside it. */
  readonly model: Uint8Array | string;
  /** Where to write what the runtime makes of the model. */
  readonly optimized?: string;
  readonly runs: readonly Readonly<Record<string, Tensor>>[];
}

/** What a run gave: its outputs by name, or the runtime's error text. */
export type OnnxRunResult =
  | { readonly type: 'outputs'; readonly outputs: Readonly<Record<string, Tensor>> }
  | { readonly type: 'error'; readonly message: string };

/** Runs every job in one child process; results in the order of jobs and runs. Throws when the child dies, saying at which job. */
export function runOnnx(jobs: readonly OnnxJob[]): OnnxRunResult[][] {
  const args = ['--disable-warning=ExperimentalWarning', import.meta.filename];
  const child = spawnSync(process.execPath, args, {
    input: serialize(jobs),
    maxBuffer: 1 << 29,
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  if (child.status === 0) return deserialize(child.stdout) as OnnxRunResult[][];
  throw new Error(`the child ended with ${child.signal ?? child.status}: ${child.stderr.toString().split('\n').slice(-4).join('\n')}`);
}

const ORT_TYPES: Readonly<Partial<Record<DType, string>>> = { float: 'float32', double: 'float64', half: 'float16' };

const ARRAYS = {
  half: Uint16Array,
  float: Float32Array,
  double: Float64Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
} as const;

async function child(): Promise<void> {
  const ort = await import('onnxruntime-node');
  const toOrt = (tensor: Tensor) => {
    const bytes = tensor.bytes.slice();
    const data = new ARRAYS[tensor.dtype as 'float'](bytes.buffer, 0, elementCount(tensor.shape));
    const type = (ORT_TYPES[tensor.dtype] ?? tensor.dtype) as 'float32';
    // The binding reads halves from a Uint16Array, which the Tensor class would not let through under their own name.
    if (tensor.dtype !== 'half') return new ort.Tensor(type, data, tensor.shape);
    return Object.defineProperty(new ort.Tensor('uint16', data as unknown as Uint16Array, tensor.shape), 'type', { value: type });
  };
  const fromOrt = (value: import('onnxruntime-node').Tensor): Tensor => {
    const dtype = (Object.keys(ORT_TYPES) as DType[]).find((one) => ORT_TYPES[one] === value.type) ?? (value.type as DType);
    const { buffer, byteOffset, byteLength } = value.data as Float32Array;
    const bytes = new Uint8Array(buffer, byteOffset, byteLength).slice(0, elementCount(value.dims) * DTYPES[dtype].byteSize);
    return { dtype, shape: [...value.dims], bytes };
  };
  const runOne = async (
    session: import('onnxruntime-node').InferenceSession,
    feeds: Readonly<Record<string, Tensor>>,
  ): Promise<OnnxRunResult> => {
    try {
      const given = await session.run(Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, toOrt(tensor)])));
      return { type: 'outputs', outputs: Object.fromEntries(Object.entries(given).map(([name, value]) => [name, fromOrt(value)])) };
    } catch (error) {
      return { type: 'error', message: String(error) };
    }
  };
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  const jobs = deserialize(Buffer.concat(chunks)) as OnnxJob[];
  const results: OnnxRunResult[][] = [];
  for (const [index, job] of jobs.entries()) {
    process.stderr.write(`job ${index}\n`);
    try {
      const session = await ort.InferenceSession.create(job.model as string, {
        logSeverityLevel: 4,
        intraOpNumThreads: 1,
        ...(job.optimized === undefined ? {} : { optimizedModelFilePath: job.optimized, graphOptimizationLevel: 'extended' }),
      });
      const answers: OnnxRunResult[] = [];
      for (const feeds of job.runs) answers.push(await runOne(session, feeds));
      results.push(answers);
      await session.release();
    } catch (error) {
      results.push(job.runs.map(() => ({ type: 'error', message: `cannot load: ${String(error)}` })));
    }
  }
  process.stdout.write(serialize(results));
}

if (process.argv[1] === import.meta.filename) await child();
