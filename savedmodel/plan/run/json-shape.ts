/** Checks of JSON that came from a file: each names the place of what does not fit. */
import { DTYPES, type DType } from '#mesh/tensor.ts';

/** A value with its place, as `steps[3].op`. Every read throws TypeError when the value is not what is asked for. */
export class Json {
  readonly value: unknown;
  readonly place: string;

  /** `place` is empty for the whole file. */
  constructor(value: unknown, place: string) {
    this.value = value;
    this.place = place;
  }

  /** The field of an object. */
  field(name: string): Json {
    return new Json(this.object()[name], this.place === '' ? name : `${this.place}.${name}`);
  }

  object(): Readonly<Record<string, unknown>> {
    if (typeof this.value !== 'object' || this.value === null || Array.isArray(this.value)) throw this.wrong('an object');
    return this.value as Readonly<Record<string, unknown>>;
  }

  /** Visits every field of an object. */
  fields(visit: (field: Json, name: string) => void): void {
    for (const name of Object.keys(this.object())) visit(this.field(name), name);
  }

  /** Visits every element of an array, and gives their number. */
  items(visit: (item: Json, index: number) => void): number {
    if (!Array.isArray(this.value)) throw this.wrong('an array');
    for (const [index, item] of this.value.entries()) visit(new Json(item, `${this.place}[${index}]`), index);
    return this.value.length;
  }

  text(): string {
    if (typeof this.value !== 'string') throw this.wrong('a text');
    return this.value;
  }

  boolean(): boolean {
    if (typeof this.value !== 'boolean') throw this.wrong('true or false');
    return this.value;
  }

  /** A whole number within bounds. */
  whole(least = 0, most = Number.MAX_SAFE_INTEGER): number {
    const { value } = this;
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least || value > most) {
      throw this.wrong(`a whole number from ${least} to ${most}`);
    }
    return value;
  }

  /** An index of one of `count` things. */
  index(count: number, what: string): number {
    const { value } = this;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value >= count) {
      throw this.wrong(`one of the plan's ${count} ${what}`);
    }
    return value;
  }

  dtype(): DType {
    const { value } = this;
    if (typeof value !== 'string' || !Object.hasOwn(DTYPES, value)) throw this.wrong('a dtype');
    return value as DType;
  }

  /** Sizes, -1 for any where `least` is -1. */
  shape(least: 0 | -1): number[] {
    const sizes: number[] = [];
    this.items((size) => sizes.push(size.whole(least)));
    return sizes;
  }

  /** Runs `check` unless the value is null. */
  nullable(check: (self: Json) => void): void {
    if (this.value !== null) check(this);
  }

  oneOf<T extends string>(choices: readonly T[]): T {
    const { value } = this;
    const choice = choices.find((one) => one === value);
    if (choice === undefined) throw this.wrong(`one of ${choices.join(', ')}`);
    return choice;
  }

  /** The error of a value that is not what it must be. */
  wrong(expected: string): TypeError {
    const found = this.value === undefined ? 'nothing' : JSON.stringify(this.value).slice(0, 80);
    return new TypeError(`${this.place === '' ? 'the file' : this.place} must be ${expected}, found ${found}`);
  }
}
