/** The fast path of `decodePredict`: the shapes of body that clients send. Anything else is undefined, and the slow path decides. */
import { DEFAULT_SIGNATURE, type Signature, type TensorSpec } from '#mesh/signature.ts';
import type { Tensor } from '#mesh/tensor.ts';
import { columnMode, DenseColumn } from './dense-column.ts';
import { scanNumbers } from './number-scan.ts';
import type { DecodedPredict } from './predict-json.ts';
import { scanString, scanTokens, skipSpace, startsBase64 } from './token-scan.ts';

/** Scans a whole body. `signatureFor` may throw anything: that too ends the fast path. */
export function scanPredict(buf: Buffer, signatureFor: (name: string) => Signature): DecodedPredict | undefined {
  const first = scanAs(buf, '', signatureFor);
  // The signature was named after the tensors: once more, knowing it.
  return typeof first === 'string' ? finished(scanAs(buf, first, signatureFor)) : first;
}

function finished(result: DecodedPredict | string | undefined): DecodedPredict | undefined {
  return typeof result === 'string' ? undefined : result;
}

/** Scans under the assumption that the signature is `assumed` unless named before the tensors; a string is the name found after them. */
function scanAs(buf: Buffer, assumed: string, signatureFor: (name: string) => Signature): DecodedPredict | string | undefined {
  let name = assumed;
  let named = false;
  let used: string | undefined;
  let format: 'row' | 'columnar' | undefined;
  let signature: Signature | undefined;
  let inputs: Map<string, Tensor> | undefined;
  let pos = skipSpace(buf, 0);
  if (buf[pos] !== 0x7b) return undefined;
  for (;;) {
    pos = skipSpace(buf, pos + 1);
    if (buf[pos] !== 0x22) return undefined;
    const keyEnd = scanString(buf, pos + 1);
    if (keyEnd < 0) return undefined;
    const key = buf.toString('latin1', pos + 1, keyEnd);
    pos = skipSpace(buf, keyEnd + 1);
    if (buf[pos] !== 0x3a) return undefined;
    pos = skipSpace(buf, pos + 1);
    if (key === 'signature_name') {
      const end = buf[pos] === 0x22 ? scanString(buf, pos + 1) : -1;
      if (end < 0 || named) return undefined;
      name = buf.toString('utf8', pos + 1, end);
      named = true;
      pos = end + 1;
    } else if ((key === 'instances' || key === 'inputs') && format === undefined) {
      format = key === 'instances' ? 'row' : 'columnar';
      used = name;
      signature = attempt(() => signatureFor(name));
      if (signature === undefined) return undefined;
      const scan = new InputScan(buf, signature);
      pos = format === 'row' ? scan.instances(pos) : scan.inputs(pos);
      inputs = scan.tensors;
      if (pos < 0) return undefined;
    } else return undefined;
    pos = skipSpace(buf, pos);
    if (buf[pos] === 0x7d) break;
    if (buf[pos] !== 0x2c) return undefined;
  }
  if (signature === undefined || inputs === undefined || format === undefined) return undefined;
  if (used !== name) return name;
  return { signatureName: name === '' ? DEFAULT_SIGNATURE : name, signature, inputs, format };
}

function attempt<Result>(action: () => Result): Result | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}

class InputScan {
  /** Set once everything has been scanned. */
  tensors: Map<string, Tensor> | undefined;
  readonly #buf: Buffer;
  readonly #columns: DenseColumn[] = [];
  readonly #scannable: boolean;

  constructor(buf: Buffer, signature: Signature) {
    this.#buf = buf;
    let scannable = true;
    for (const name in signature.inputs) {
      const spec = signature.inputs[name] as TensorSpec;
      const mode = columnMode(spec.dtype);
      if (mode === undefined) scannable = false;
      else this.#columns.push(new DenseColumn(name, spec.dtype, mode, guessCount(buf.byteLength, spec.shape)));
    }
    this.#scannable = scannable && this.#columns.length > 0;
  }

  /** Scans the value of `instances`; returns the offset after it or -1. */
  instances(pos: number): number {
    const buf = this.#buf;
    const [only] = this.#columns;
    if (!this.#scannable || only === undefined || buf[pos] !== 0x5b) return -1;
    const first = skipSpace(buf, pos + 1);
    if (buf[first] === 0x5d) return -1;
    if (buf[first] === 0x7b && !startsBase64(buf, first)) return this.#objects(first);
    if (this.#columns.length > 1) return -1;
    const end = scanInto(buf, pos, only);
    return end < 0 || !this.#finish([]) ? -1 : end;
  }

  /** Scans the value of `inputs`; returns the offset after it or -1. */
  inputs(pos: number): number {
    const buf = this.#buf;
    const [only] = this.#columns;
    if (!this.#scannable || only === undefined) return -1;
    let end: number;
    if (buf[pos] === 0x7b && !startsBase64(buf, pos)) end = this.#members(pos, 1);
    else if (this.#columns.length > 1) return -1;
    else end = scanInto(buf, pos, only);
    return end < 0 || !this.#finish([]) ? -1 : end;
  }

  /** A list of objects, from its first object on. */
  #objects(first: number): number {
    const buf = this.#buf;
    let pos = first;
    for (let count = 1; ; count++) {
      if (buf[pos] !== 0x7b || startsBase64(buf, pos)) return -1;
      pos = this.#members(pos, count);
      if (pos < 0) return -1;
      pos = skipSpace(buf, pos);
      if (buf[pos] === 0x5d) return this.#finish([count]) ? pos + 1 : -1;
      if (buf[pos] !== 0x2c) return -1;
      pos = skipSpace(buf, pos + 1);
    }
  }

  /** One object with each input exactly once; `count` objects have then been seen. */
  #members(from: number, count: number): number {
    const buf = this.#buf;
    const columns = this.#columns;
    let pos = from;
    for (let member = 0; member < columns.length; member++) {
      pos = skipSpace(buf, pos + 1);
      if (buf[pos] !== 0x22) return -1;
      const keyEnd = scanString(buf, pos + 1);
      if (keyEnd < 0) return -1;
      const key = buf.toString('utf8', pos + 1, keyEnd);
      const column = columns.length === 1 ? columns[0] : columns.find(({ name }) => name === key);
      if (column === undefined || column.name !== key || column.instances !== count - 1) return -1;
      column.instances = count;
      pos = skipSpace(buf, keyEnd + 1);
      if (buf[pos] !== 0x3a) return -1;
      pos = scanInto(buf, pos + 1, column);
      if (pos < 0) return -1;
      pos = skipSpace(buf, pos);
      if (buf[pos] !== (member === columns.length - 1 ? 0x7d : 0x2c)) return -1;
    }
    return pos + 1;
  }

  #finish(leading: readonly number[]): boolean {
    const tensors = new Map<string, Tensor>();
    for (const column of this.#columns) {
      const tensor = column.finish(leading);
      if (tensor === undefined) return false;
      tensors.set(column.name, tensor);
    }
    this.tensors = tensors;
    return true;
  }
}

function scanInto(buf: Buffer, pos: number, column: DenseColumn): number {
  return column.mode === 'bool' || column.mode === 'string' ? scanTokens(buf, pos, column) : scanNumbers(buf, pos, column);
}

/** One row as the signature has it, but never more than the body could hold: a number takes two bytes at least. */
function guessCount(bodyBytes: number, shape: readonly number[] | null): number {
  let inner = 1;
  if (shape !== null) for (const dim of shape) if (dim > 0) inner *= dim;
  return Math.min(bodyBytes >> 1, Math.max(inner, bodyBytes >> 3, 8));
}
