/** The body of a Classify or Regress call over REST. */
import { fromUtf8 } from '#mesh/bytes.ts';
import { ServeError } from '#mesh/errors.ts';
import { checkContextCopies } from '#proto/input.ts';
import { base64Of, isBase64Object, jsonTypeName } from './json-base64.ts';
import { debugText } from './json-print.ts';
import { fitsInt64, type JsonTape } from './json-tape.ts';
import { readDocument } from './predict-tape.ts';
import { encodeExample, type Feature } from './tf-example.ts';

/** What a Classify or Regress body says. */
export interface DecodedExamples {
  /** As the client wrote it; empty when it named none. */
  readonly signatureName: string;
  /** Serialized `tf.Example`s, the context's bytes before each: parsed as one message, the example's features then win. */
  readonly examples: readonly Uint8Array[];
}

function invalid(message: string): ServeError {
  return new ServeError('INVALID_ARGUMENT', message);
}

/** Decodes `{"signature_name": …, "context": {…}, "examples": [{…}]}`. Throws ServeError with TensorFlow Serving's texts. */
export function decodeExamples(body: Uint8Array): DecodedExamples {
  const { tape, signatureName } = readDocument(body);
  const contextEntry = tape.member(0, 'context');
  const context = contextEntry === undefined ? undefined : readExample(tape, contextEntry);
  const list = tape.member(0, 'examples');
  const complain = (text: string) => invalid(`JSON Value: ${debugText(tape, 0)} ${text}`);
  // TensorFlow Serving says "classify" for regress too.
  if (list === undefined) throw complain("When method is classify, key 'examples' is expected and was not found");
  if (tape.kind(list) !== 'array') throw complain("Expecting 'examples' value to be an list/array");
  if (tape.size(list) === 0) throw complain("'examples' value is an empty array");
  if (context !== undefined) checkContextCopies(context.byteLength, tape.size(list));
  const examples: Uint8Array[] = [];
  for (const entry of tape.elements(list)) {
    const example = readExample(tape, entry);
    examples.push(context === undefined ? example : Buffer.concat([context, example]));
  }
  return { signatureName, examples };
}

function readExample(tape: JsonTape, object: number): Uint8Array {
  if (tape.kind(object) !== 'object') {
    throw invalid(`Example must be JSON object but got JSON ${jsonTypeName(tape, object)}`);
  }
  const features = new Map<string, Feature>();
  for (const [key, value] of tape.members(object)) {
    const name = fromUtf8(tape.string(key));
    const builder = new FeatureBuilder(name);
    if (tape.kind(value) === 'array') for (const element of tape.elements(value)) builder.add(tape, element);
    else builder.add(tape, value);
    features.set(name, builder.feature);
  }
  return encodeExample(features);
}

/** Integers up to this many characters are exact as numbers. */
const EXACT_DIGITS = 15;

class FeatureBuilder {
  readonly #name: string;
  #kind: Feature['kind'] = 'unset';
  /** Of the type that the kind says. */
  #values: (Uint8Array | number | bigint)[] = [];

  constructor(name: string) {
    this.#name = name;
  }

  get feature(): Feature {
    return { kind: this.#kind, values: this.#values } as Feature;
  }

  /** Adds a value; its type decides the feature's kind, or must agree with it. */
  add(tape: JsonTape, entry: number): void {
    const kind = tape.kind(entry);
    if (kind === 'true' || kind === 'false') {
      this.#become('int64');
      this.#values.push(kind === 'true' ? 1 : 0);
    } else if (kind === 'integer') {
      this.#become('int64');
      const text = tape.numberText(entry);
      if (text.length > EXACT_DIGITS && !fitsInt64(BigInt(text))) {
        throw invalid(`Feature: ${this.#name} has uint64_t element. Only int64_t is supported.`);
      }
      this.#values.push(text.length > EXACT_DIGITS ? BigInt(text) : Number(text));
    } else if (kind === 'double') {
      this.#become('float');
      this.#values.push(tape.number(entry));
    } else if (kind === 'string') {
      this.#become('bytes');
      this.#values.push(tape.string(entry));
    } else if (isBase64Object(tape, entry)) {
      this.#become('bytes');
      this.#values.push(base64Of(tape, entry));
    } else {
      throw invalid(`Feature: ${this.#name} has element with unexpected JSON type: ${jsonTypeName(tape, entry)}`);
    }
  }

  #become(kind: 'bytes' | 'float' | 'int64'): void {
    if (this.#kind !== 'unset' && this.#kind !== kind) {
      throw invalid(`Unexpected element type in feature: ${this.#name} expecting type: ${this.#kind}`);
    }
    this.#kind = kind;
  }
}
