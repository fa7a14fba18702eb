/** `tensorflow.serving.Input`: the rows of Classify, Regress and MultiInference as serialized tf.Example messages. */
import { ServeError } from '#mesh/errors.ts';
import { WIRE, type WireReader, type WireWriter } from './wire.ts';

/** Rows to encode; `context` holds features that every row gets unless it has its own. All are serialized tf.Example messages. */
export interface InputRows {
  readonly examples: readonly Uint8Array[];
  readonly context?: Uint8Array;
}

const KIND = { list: 1, withContext: 2 } as const;

/**
 * The rows of an Input message, serialized. With a context, each is the context's bytes and then the example's: read as one message, the
 * example's features win. Empty when the message holds none, which TensorFlow Serving refuses with `Input is empty.`
 */
export function decodeInput(reader: WireReader): readonly Uint8Array[] {
  let kind = 0;
  let examples: Uint8Array[] = [];
  let context: Uint8Array[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag !== KIND.list * 8 + WIRE.bytes && tag !== KIND.withContext * 8 + WIRE.bytes) {
      reader.skip(tag);
      continue;
    }
    if (tag >>> 3 !== kind) {
      examples = [];
      context = [];
    }
    kind = tag >>> 3;
    const list = reader.message();
    while (list.more()) {
      const inner = list.tag();
      if (inner === 1 * 8 + WIRE.bytes) examples.push(list.view());
      else if (inner === 2 * 8 + WIRE.bytes && kind === KIND.withContext) context.push(list.view());
      else list.skip(inner);
    }
  }
  const contextBytes = context.reduce((sum, part) => sum + part.byteLength, 0);
  if (contextBytes === 0) return examples;
  checkContextCopies(contextBytes, examples.length);
  return examples.map((example) => joined([...context, example]));
}

/** Bytes that the copies of one context may take: a small request with a large context and many examples asks for any amount. */
const MAX_CONTEXT_COPIES_BYTES = 64 * 1024 * 1024;

/** Refuses a context whose copies before each example would take too much memory: INVALID_ARGUMENT, with the numbers. */
export function checkContextCopies(contextBytes: number, exampleCount: number): void {
  if (contextBytes * exampleCount <= MAX_CONTEXT_COPIES_BYTES) return;
  throw new ServeError(
    'INVALID_ARGUMENT',
    `A context of ${contextBytes} bytes for ${exampleCount} examples takes ${contextBytes * exampleCount} bytes, at most ${MAX_CONTEXT_COPIES_BYTES} are allowed`,
  );
}

/** Writes rows as a field. */
export function encodeInput(writer: WireWriter, field: number, { examples, context }: InputRows): void {
  const kind = context === undefined ? KIND.list : KIND.withContext;
  const writeList = () => {
    for (const example of examples) writer.bytesField(1, example);
    if (context !== undefined) writer.bytesField(2, context);
  };
  writer.delimited(field, () => writer.delimited(kind, writeList));
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}
