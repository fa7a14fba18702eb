/** Run as a process of its own (onnxruntime does not load inside Jest): node run-model.ts MODEL < {"input", "shape", "values"}; prints {output: numbers}. */
import { text } from 'node:stream/consumers';
import { InferenceSession, Tensor } from 'onnxruntime-node';

const [model = ''] = process.argv.slice(2);
const { input, shape, values } = JSON.parse(await text(process.stdin)) as { input: string; shape: number[]; values: number[] };
const session = await InferenceSession.create(model);
const outputs = await session.run({ [input]: new Tensor('float32', Float32Array.from(values), shape) });
const numbers = Object.entries(outputs).map(
  ([name, tensor]) => [name, Array.from(tensor.data as Iterable<number | bigint>, Number)] as const,
);
process.stdout.write(JSON.stringify(Object.fromEntries(numbers)));
