/**
 * What a Node user does today: one fastify process that parses JSON and calls session.run for each request, with everybody's defaults.
 *
 *     node naive.ts PORT MODEL INPUT DTYPE ROW_SHAPE
 */
import fastify from 'fastify';
import { InferenceSession, Tensor } from 'onnxruntime-node';

const [port, model = '', input = '', dtype, rowShapeText = '[]'] = process.argv.slice(2);
const rowShape = JSON.parse(rowShapeText) as number[];
const session = await InferenceSession.create(model);
const app = fastify({ bodyLimit: 64 * 1024 * 1024 });
const [output = ''] = session.outputNames;

app.post('/v1/models/:model', async (request) => {
  const { instances } = request.body as { instances: unknown[] };
  const values = instances.flat(Number.POSITIVE_INFINITY) as number[];
  const shape = [instances.length, ...rowShape];
  const tensor =
    dtype === 'int64'
      ? new Tensor('int64', BigInt64Array.from(values, BigInt), shape)
      : new Tensor('float32', Float32Array.from(values), shape);
  const result = (await session.run({ [input]: tensor }))[output];
  if (result === undefined) throw new Error(`no output ${output}`);
  const numbers = Array.from(result.data as Float32Array);
  const perRow = numbers.length / instances.length;
  const predictions = result.dims.length === 1 ? numbers : instances.map((_, row) => numbers.slice(row * perRow, (row + 1) * perRow));
  return { predictions };
});
process.on('SIGTERM', () => void app.close().then(() => process.exit(0)));
await app.listen({ port: Number(port), host: '127.0.0.1' });
