/** `tensorflow.serving.PredictionLog`: a recorded request, as warmup replays it and request logging writes it. */
import { decodeExamplesRequest, type ExamplesRequest } from './classification.ts';
import { decodeMultiInferenceRequest, type MultiInferenceRequest } from './inference.ts';
import { decodePredictRequest, type PredictRequest } from './predict.ts';
import { WIRE, WireReader, WireWriter } from './wire.ts';

/** A recorded request by its method. */
export type PredictionLog =
  | { readonly type: 'predict'; readonly request: PredictRequest }
  | { readonly type: 'classify'; readonly request: ExamplesRequest }
  | { readonly type: 'regress'; readonly request: ExamplesRequest }
  | { readonly type: 'multi-inference'; readonly request: MultiInferenceRequest }
  /** A kind that is not replayed: session_run_log (5), predict_streamed_log (7), or none at all (0). */
  | { readonly type: 'other'; readonly logType: number };

/** The kinds of records that can be written. */
export type LogType = Exclude<PredictionLog['type'], 'other'>;

const LOG_FIELD: Readonly<Record<LogType, number>> = { classify: 2, regress: 3, 'multi-inference': 4, predict: 6 };
const FIRST_LOG = 2;
const LAST_LOG = 7;

/** Decodes a record; its answer and its log metadata are passed over. Throws INVALID_ARGUMENT. */
export function decodePredictionLog(bytes: Uint8Array): PredictionLog {
  const reader = new WireReader(bytes);
  let logType = 0;
  let log: Uint8Array = new Uint8Array(0);
  while (reader.more()) {
    const tag = reader.tag();
    const number = tag >>> 3;
    if ((tag & 7) !== WIRE.bytes || number < FIRST_LOG || number > LAST_LOG) {
      reader.skip(tag);
      continue;
    }
    logType = number;
    log = reader.view();
  }
  const request = requestOf(log);
  if (logType === LOG_FIELD.predict) return { type: 'predict', request: decodePredictRequest(request) };
  if (logType === LOG_FIELD.classify) return { type: 'classify', request: decodeExamplesRequest(request) };
  if (logType === LOG_FIELD.regress) return { type: 'regress', request: decodeExamplesRequest(request) };
  if (logType === LOG_FIELD['multi-inference']) return { type: 'multi-inference', request: decodeMultiInferenceRequest(request) };
  return { type: 'other', logType };
}

/** Encodes a record from an encoded request, and the encoded answer where there is one. */
export function encodePredictionLog(type: LogType, request: Uint8Array, response?: Uint8Array): Uint8Array {
  const writer = new WireWriter(request.byteLength + (response?.byteLength ?? 0) + 32);
  const writeLog = () => {
    writer.bytesField(1, request);
    if (response !== undefined) writer.bytesField(2, response);
  };
  return writer.delimited(LOG_FIELD[type], writeLog, request.byteLength + (response?.byteLength ?? 0) + 16).finish();
}

/** The request inside a log of one kind: every kind has it as field 1. */
function requestOf(log: Uint8Array): Uint8Array {
  const reader = new WireReader(log);
  let request: Uint8Array = new Uint8Array(0);
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 1 * 8 + WIRE.bytes) request = reader.view();
    else reader.skip(tag);
  }
  return request;
}
