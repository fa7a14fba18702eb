/** Questions to server reflection. */
import { type ServeError, toServeError } from '#mesh/errors.ts';
import { WireReader, WireWriter } from '#proto/wire.ts';
import { createReflectionServices } from '../../../../services/gateway/grpc/reflection-service.ts';
import type { FuzzTarget } from '../target.ts';

const SERVICES = ['tensorflow.serving.PredictionService'];

const info = createReflectionServices(SERVICES)[0]?.methods.ServerReflectionInfo;

/** One question has one answer that repeats it, or ends the stream with a status that blames the question. */
function reflection(bytes: Uint8Array): void {
  const answers: Uint8Array[] = [];
  const errors: ServeError[] = [];
  const write = (message: Uint8Array) => answers.push(message) > 0;
  if (info?.streaming !== 'both') throw new Error('reflection is not a stream both ways');
  try {
    info.handle({ write, end() {}, fail() {}, pause() {}, resume() {} }).message(Buffer.from(bytes));
  } catch (caught) {
    errors.push(toServeError(caught));
  }
  const [answer] = answers;
  if (answer === undefined) {
    if (errors.length !== 1 || errors[0]?.code !== 'INVALID_ARGUMENT') throw new Error(`no answer, and the status ${errors[0]?.code}`);
    return;
  }
  for (const reader = new WireReader(new Uint8Array(answer)); reader.more(); ) {
    const tag = reader.tag();
    if (tag >>> 3 !== 2) reader.skip(tag);
    else if (Buffer.compare(reader.view(), bytes) !== 0) throw new Error('the answer repeats another question');
  }
}

const ask = (field: number, name: string) => new WireWriter().stringField(1, 'h').stringField(field, name).finish();

/** The target of this file. */
export const TARGETS: readonly FuzzTarget[] = [
  {
    name: 'reflection',
    format: 'protobuf',
    covers: ['services/gateway/grpc/', 'proto/'],
    words: [
      'tensorflow.serving.PredictionService',
      'tensorflow_serving/apis/predict.proto',
      'tensorflow.TensorProto',
      '__proto__',
      '.',
      '',
    ],
    seeds: () => [
      ask(3, 'tensorflow_serving/apis/predict.proto'),
      ask(4, 'tensorflow.serving.PredictionService.Predict'),
      new WireWriter().delimited(5, () => undefined).finish(),
      ask(6, 'tensorflow.TensorProto'),
      ask(7, ''),
    ],
    check: reflection,
  },
];
