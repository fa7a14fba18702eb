/** How some values were made, so that what undoes it costs nothing. */
import type { TypedValue } from './translator.ts';

/** A value that is the first rows along an axis of another, which always has some. */
export interface CutValue {
  readonly whole: TypedValue;
  readonly axis: number;
  /** How many rows, int64 [1]. */
  readonly rows: TypedValue;
}

/** What a whole model remembers of its values, by name. */
export class ValueOrigins {
  readonly #unsqueezed = new Map<string, { readonly of: TypedValue; readonly axes: string }>();
  readonly #cut = new Map<string, CutValue>();
  readonly #transposed = new Map<string, readonly number[]>();

  /** Remembers that a value is another with axes of size 1 put in; axes count from the start. */
  addUnsqueezed(value: TypedValue, of: TypedValue, axes: readonly number[]): void {
    this.#unsqueezed.set(value.name, { of, axes: `${[...axes].sort()}` });
  }

  /** What a value was before those axes were put in; undefined when that is not how it was made. */
  withoutAxes(value: TypedValue, axes: readonly number[]): TypedValue | undefined {
    const made = this.#unsqueezed.get(value.name);
    return made?.axes === `${[...axes].sort()}` ? made.of : undefined;
  }

  /** Remembers that a value is another with its axes permuted. */
  addTransposed(value: TypedValue, permutation: readonly number[]): void {
    this.#transposed.set(value.name, permutation);
  }

  /**
   * Whether a value is a transpose that the runtime makes part of the product that takes it, and divides by the size of the first axis before:
   * that axis goes last or last but one, behind axes that keep their order.
   */
  isRiskyFactor(value: TypedValue): boolean {
    const permutation = this.#transposed.get(value.name);
    const rank = permutation?.length ?? 0;
    if (permutation === undefined || rank < 3 || (value.shape?.[permutation.indexOf(0)] ?? -1) > 0) return false;
    return permutation.slice(0, rank - 2).every((axis, index) => axis === index + 1);
  }

  /** Remembers that a value is a part of another. */
  addCut(value: TypedValue, cut: CutValue): void {
    this.#cut.set(value.name, cut);
  }

  /** What a value was cut from. */
  cutFrom(value: TypedValue): CutValue | undefined {
    return this.#cut.get(value.name);
  }
}
