/** Lookup tables on the worker: those that are only read, and those that requests write. */
import { ServeError } from '#mesh/errors.ts';
import { type DType, elementCount } from '#mesh/tensor.ts';
import { elementKeys } from '../../host/counting.ts';
import { invalid, joinData, sameShape, shapeText, take } from '../../host/host-tensor.ts';
import { emptyTable, findInTable, type LookupTable } from '../../host/tables.ts';
import type { HostTensor } from '../../host-value.ts';

/** A table and its handle. Keys are scalars; values have one shape. */
export class Table {
  readonly kind = 'table';
  /** The table's node. */
  readonly name: string;
  readonly op: string;
  readonly keyDtype: DType;
  readonly valueDtype: DType;
  #content: LookupTable | Entries;
  /** A HashTable must be filled before it is read; a MutableHashTable is there from the start. */
  #initialized: boolean;

  /** An empty table. */
  constructor(plan: { readonly name: string; readonly op: string; readonly keyDtype: DType; readonly valueDtype: DType }) {
    this.name = plan.name;
    this.op = plan.op;
    this.keyDtype = plan.keyDtype;
    this.valueDtype = plan.valueDtype;
    this.#content = emptyTable(plan.keyDtype, plan.valueDtype);
    this.#initialized = plan.op.includes('Mutable');
  }

  get isInitialized(): boolean {
    return this.#initialized;
  }

  /** What is in it. Throws FAILED_PRECONDITION for a HashTable that nothing filled. */
  content(): LookupTable {
    if (!this.#initialized) throw new ServeError('FAILED_PRECONDITION', 'Table not initialized.');
    return this.#content;
  }

  /** Takes what a file or a constant holds; a key that is there already gets the new value. */
  fill(from: LookupTable): void {
    this.#initialized = true;
    if (this.#content.entries.size === 0) this.#content = from;
    else this.insert(from.keys, joinData(from.valueDtype, [...from.entries.values()], [...from.keys.shape, ...from.valueShape]));
  }

  /** `LookupTableFindV2`: values [...keys.shape, ...value shape]. A mutable table takes one default for all keys or one for each. */
  find(keys: HostTensor, fallback: HostTensor): HostTensor {
    const content = this.content();
    const each = elementCount(keys.shape);
    const valueShape = content.entries.size > 0 ? content.valueShape : fallback.shape;
    const wholeShape = [...keys.shape, ...valueShape];
    if (keys.shape.length === 0 || !sameShape(fallback.shape, wholeShape) || sameShape(fallback.shape, valueShape)) {
      return findInTable({ ...pick(content), valueShape }, keys, fallback);
    }
    const perValue = elementCount(valueShape);
    const texts = elementKeys(keys);
    const values = Array.from({ length: each }, (_, at) => {
      const found = content.entries.get(texts[at] ?? '');
      return (
        found ??
        take(
          fallback,
          valueShape,
          Array.from({ length: perValue }, (_none, part) => at * perValue + part),
        )
      );
    });
    return joinData(this.valueDtype, values, wholeShape);
  }

  /** `LookupTableInsertV2`: a key that is there gets the new value. Throws INVALID_ARGUMENT when keys and values do not fit. */
  insert(keys: HostTensor, values: HostTensor): void {
    if (keys.dtype !== this.keyDtype) throw invalid(`Key must be type ${this.keyDtype} but got ${keys.dtype}`);
    if (values.dtype !== this.valueDtype) throw invalid(`Value must be type ${this.valueDtype} but got ${values.dtype}`);
    const valueShape = values.shape.slice(keys.shape.length);
    const entries = this.#writable();
    const known = entries.entries.size > 0 ? entries.valueShape : valueShape;
    const expected = [...keys.shape, ...known];
    if (!sameShape(values.shape, expected)) {
      throw invalid(`Expected shape ${shapeText(expected)} for value, got ${shapeText(values.shape)}`);
    }
    entries.valueShape = valueShape;
    const perValue = elementCount(valueShape);
    for (const [at, text] of elementKeys(keys).entries()) {
      const value = take(
        values,
        valueShape,
        Array.from({ length: perValue }, (_, part) => at * perValue + part),
      );
      entries.set(text, take(keys, [], [at]), value);
    }
  }

  /** `LookupTableImportV2`: only what is given remains. */
  import(keys: HostTensor, values: HostTensor): void {
    const before = this.#content;
    this.#content = emptyTable(this.keyDtype, this.valueDtype);
    try {
      this.insert(keys, values);
      this.#initialized = true;
    } catch (caught) {
      this.#content = before;
      throw caught;
    }
  }

  /** `LookupTableRemoveV2`: a key that is not there is passed over. */
  remove(keys: HostTensor): void {
    if (keys.dtype !== this.keyDtype) throw invalid(`Key must be type ${this.keyDtype} but got ${keys.dtype}`);
    const entries = this.#writable();
    for (const text of elementKeys(keys)) entries.delete(text);
  }

  /** Frees the entries. */
  clear(): void {
    this.#content = emptyTable(this.keyDtype, this.valueDtype);
    this.#initialized = this.op.includes('Mutable');
  }

  /** What files and constants gave is shared until the first write. */
  #writable(): Entries {
    const entries = this.#content instanceof Entries ? this.#content : Entries.of(this.#content);
    this.#content = entries;
    return entries;
  }
}

/** A LookupTable that can be written. Every key and value has memory of its own. */
class Entries implements LookupTable {
  readonly keyDtype: DType;
  readonly valueDtype: DType;
  readonly entries = new Map<string, HostTensor>();
  readonly #keys = new Map<string, HostTensor>();
  valueShape: readonly number[] = [];

  constructor(keyDtype: DType, valueDtype: DType) {
    this.keyDtype = keyDtype;
    this.valueDtype = valueDtype;
  }

  static of(table: LookupTable): Entries {
    const entries = new Entries(table.keyDtype, table.valueDtype);
    entries.valueShape = table.valueShape;
    let at = 0;
    for (const [text, value] of table.entries) entries.set(text, take(table.keys, [], [at++]), value);
    return entries;
  }

  get keys(): HostTensor {
    return joinData(this.keyDtype, [...this.#keys.values()], [this.#keys.size]);
  }

  set(text: string, key: HostTensor, value: HostTensor): void {
    if (!this.#keys.has(text)) this.#keys.set(text, owned(key));
    this.entries.set(text, owned(value));
  }

  delete(text: string): void {
    this.#keys.delete(text);
    this.entries.delete(text);
  }
}

/** `take` copies numbers, but gives views of byte strings: those may be a request's. */
function owned(tensor: HostTensor): HostTensor {
  if (ArrayBuffer.isView(tensor.data)) return tensor;
  return { ...tensor, data: tensor.data.map((bytes) => bytes.slice()) };
}

/** The parts of a table that lookups read, without asking for its keys. */
function pick({ keyDtype, valueDtype, entries }: LookupTable): Omit<LookupTable, 'valueShape'> {
  return { keyDtype, valueDtype, entries, keys: NO_KEYS };
}

const NO_KEYS: HostTensor = { dtype: 'int64', shape: [0], data: [] };
