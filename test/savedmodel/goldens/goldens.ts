/** TensorFlow's own answers, committed: single ops in `ops/*.jsonl`, whole SavedModels in `patterns/`. See README.md for the format. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { dtypeFromProtoName, packStrings, type Tensor } from '#mesh/tensor.ts';
import type { AttrValue } from '../../../savedmodel/graph.ts';

/** One input of an op. A constant one was a Const node when TensorFlow ran the op, and is the same in every feed. */
export interface OpInput {
  readonly dtype: Tensor['dtype'];
  readonly constant: boolean;
}

/** What was fed, one tensor per input (constants too), and what TensorFlow answered: one tensor per output, or its refusal. */
export interface OpFeed {
  readonly inputs: readonly Tensor[];
  readonly answer:
    | { readonly type: 'outputs'; readonly outputs: readonly Tensor[] }
    | { readonly type: 'error'; readonly code: string; readonly message: string };
}

/** One op with one set of attributes. Its feeds may differ in shape, as in a graph with unknown shapes; there is at least one. */
export interface OpCase {
  readonly family: string;
  readonly op: string;
  /** Unique within the op. */
  readonly name: string;
  /** As in the NodeDef, defaults included. */
  readonly attrs: ReadonlyMap<string, AttrValue>;
  readonly inputs: readonly OpInput[];
  readonly feeds: readonly OpFeed[];
  /** Relative and absolute, where the op needs more than the usual. */
  readonly tolerance?: number;
}

/** One SavedModel made to show one pattern; `directory` is its base path, with the version in `1` and the answers in `golden.json`. */
export interface PatternFolder {
  readonly name: string;
  readonly directory: string;
  readonly versionDirectory: string;
}

/** One call of a pattern's signature and its answer. */
export interface PatternCall {
  readonly signature: string;
  readonly methodName: string;
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly answer:
    | { readonly type: 'outputs'; readonly outputs: ReadonlyMap<string, Tensor> }
    | { readonly type: 'error'; readonly message: string };
  /** Absolute and relative, where more than the usual must be allowed (JPEG decoders differ). */
  readonly tolerance?: number;
}

/** What `golden.json` of a pattern (or of a folder in `../shared/models`) says; calls are to be made in order on one loaded model. */
export interface PatternGolden {
  readonly tags: readonly string[];
  readonly calls: readonly PatternCall[];
}

/** Every committed op case, or those of the given families (file names in `ops/` without their ending). */
export function loadOpCases(families?: readonly string[]): OpCase[] {
  const folder = join(import.meta.dirname, 'ops');
  const names = families ?? opFamilies();
  return names.flatMap((family) => {
    const lines = readFileSync(join(folder, `${family}.jsonl`), 'utf8')
      .trimEnd()
      .split('\n');
    return lines.slice(1).map((line) => opCase(family, JSON.parse(line) as StoredCase));
  });
}

/** The families that are there. */
export function opFamilies(): string[] {
  const files = readdirSync(join(import.meta.dirname, 'ops'));
  return files.filter((file) => file.endsWith('.jsonl')).map((file) => file.slice(0, -'.jsonl'.length));
}

/** The committed pattern models, by name. */
export function patternFolders(): PatternFolder[] {
  const root = join(import.meta.dirname, 'patterns');
  if (!existsSync(root)) return [];
  return readdirSync(root)
    .sort()
    .map((name) => ({ name, directory: join(root, name), versionDirectory: join(root, name, '1') }));
}

/** The answers beside a model: `golden.json` in its base path; of another MetaGraph with `otherTags`, of which there must be answers. */
export function loadPatternGolden(directory: string, otherTags?: readonly string[]): PatternGolden {
  const stored = JSON.parse(readFileSync(join(directory, 'golden.json'), 'utf8')) as StoredGolden;
  const golden = otherTags === undefined ? stored : stored.other_tags?.find((other) => String(other.tags) === String(otherTags));
  if (golden === undefined) throw new RangeError(`${directory} has no answers for the tags ${otherTags}`);
  return { tags: golden.tags ?? ['serve'], calls: golden.signatures.map(patternCall) };
}

interface StoredTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly b64?: string;
  readonly b64s?: readonly string[];
}

type StoredAttr =
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'int'; readonly value: number }
  | { readonly type: 'float'; readonly value: number | string }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'dtype'; readonly value: number }
  | { readonly type: 'shape'; readonly value: readonly number[] | null }
  | { readonly type: 'tensor'; readonly value: StoredTensor }
  | { readonly type: 'list'; readonly values: readonly StoredAttr[] };

interface StoredCase {
  readonly op: string;
  readonly name: string;
  readonly attrs: Readonly<Record<string, StoredAttr>>;
  readonly inputs: readonly (StoredTensor & { readonly constant: boolean })[];
  readonly outputs?: readonly StoredTensor[];
  readonly error?: string;
  readonly code?: string;
  readonly more?: readonly { readonly inputs: readonly (StoredTensor | null)[]; readonly outputs: readonly StoredTensor[] }[];
  readonly tolerance?: number;
}

interface StoredCall {
  readonly signature: string;
  readonly method_name: string;
  readonly inputs?: Readonly<Record<string, StoredTensor>>;
  readonly outputs?: Readonly<Record<string, StoredTensor>>;
  readonly error?: string;
  readonly tolerance?: number;
}

interface StoredAnswers {
  readonly tags?: readonly string[];
  readonly signatures: readonly StoredCall[];
}

interface StoredGolden extends StoredAnswers {
  readonly other_tags?: readonly StoredAnswers[];
}

function patternCall(call: StoredCall): PatternCall {
  const head = {
    signature: call.signature,
    methodName: call.method_name,
    inputs: namedTensors(call.inputs ?? {}),
    ...(call.tolerance === undefined ? {} : { tolerance: call.tolerance }),
  };
  if (call.error !== undefined) return { ...head, answer: { type: 'error', message: call.error } };
  return { ...head, answer: { type: 'outputs', outputs: namedTensors(call.outputs ?? {}) } };
}

function opCase(family: string, stored: StoredCase): OpCase {
  const first = stored.inputs.map(tensor);
  const outputs = (tensors: readonly StoredTensor[]): OpFeed['answer'] => ({ type: 'outputs', outputs: tensors.map(tensor) });
  const refusal = { type: 'error', code: stored.code ?? '', message: stored.error ?? '' } as const;
  const feeds: OpFeed[] = [{ inputs: first, answer: stored.outputs === undefined ? refusal : outputs(stored.outputs) }];
  for (const feed of stored.more ?? []) {
    const inputs = feed.inputs.map((given, index) => (given === null ? constantOf(first, index) : tensor(given)));
    feeds.push({ inputs, answer: outputs(feed.outputs) });
  }
  return {
    family,
    op: stored.op,
    name: stored.name,
    attrs: new Map(Object.entries(stored.attrs).map(([name, value]) => [name, attr(value)])),
    inputs: stored.inputs.map((input, index) => ({ dtype: constantOf(first, index).dtype, constant: input.constant })),
    feeds,
    ...(stored.tolerance === undefined ? {} : { tolerance: stored.tolerance }),
  };
}

function constantOf(tensors: readonly Tensor[], index: number): Tensor {
  const found = tensors[index];
  if (found === undefined) throw new RangeError(`input ${index} of a case with ${tensors.length}`);
  return found;
}

function tensor(stored: StoredTensor): Tensor {
  const dtype = dtypeFromProtoName(stored.dtype);
  if (dtype === undefined) throw new TypeError(`no tensor has dtype ${stored.dtype}`);
  const bytes =
    stored.b64s === undefined
      ? new Uint8Array(Buffer.from(stored.b64 ?? '', 'base64'))
      : packStrings(stored.b64s.map((text) => new Uint8Array(Buffer.from(text, 'base64'))));
  return { dtype, shape: stored.shape, bytes };
}

function namedTensors(stored: Readonly<Record<string, StoredTensor>>): ReadonlyMap<string, Tensor> {
  return new Map(Object.entries(stored).map(([name, value]) => [name, tensor(value)]));
}

function attr(stored: StoredAttr): AttrValue {
  if (stored.type === 'string') return { type: 'string', value: new TextEncoder().encode(stored.value) };
  if (stored.type === 'float')
    return { type: 'float', value: typeof stored.value === 'number' ? stored.value : Number(floatName(stored.value)) };
  if (stored.type === 'tensor') return { type: 'tensor', value: tensor(stored.value) };
  if (stored.type === 'list') return { type: 'list', values: stored.values.map(attr) };
  return stored;
}

function floatName(text: string): string {
  if (text === 'inf') return 'Infinity';
  return text === '-inf' ? '-Infinity' : 'NaN';
}
