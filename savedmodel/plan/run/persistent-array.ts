/**
 * Arrays that never change, of which changed versions are made in constant time. The newest version holds the elements; an older one knows
 * only how it differs from a newer, and takes the elements over when it is read (Baker's trick). A loop that sets one element a round and
 * drops the version before costs no more than a plain array.
 */

type State<T> =
  | { readonly type: 'newest'; readonly elements: (T | undefined)[] }
  | { readonly type: 'older'; readonly index: number; readonly value: T | undefined; readonly newer: PersistentArray<T> };

/** Elements by index, each there or not. */
export class PersistentArray<T> {
  /** How many elements it has, unset ones included. */
  readonly length: number;
  #state: State<T>;

  private constructor(length: number, state: State<T>) {
    this.length = length;
    this.#state = state;
  }

  /** Of `elements`, which the array takes over: the caller must not change them. */
  static of<T>(elements: (T | undefined)[]): PersistentArray<T> {
    return new PersistentArray(elements.length, { type: 'newest', elements });
  }

  /** The element, or undefined where it is unset or beyond the end. */
  at(index: number): T | undefined {
    return index < this.length ? this.#own()[index] : undefined;
  }

  /** A version with another element at `index`, up to and including the end: there it is one longer. */
  with(index: number, value: T | undefined): PersistentArray<T> {
    return this.#changed(Math.max(this.length, index + 1), index, value);
  }

  /** A version without the last element. */
  withoutLast(): PersistentArray<T> {
    return this.#changed(this.length - 1, this.length - 1, undefined);
  }

  /** The elements, in memory of the caller's own. */
  toArray(): (T | undefined)[] {
    const elements = this.#own().slice(0, this.length);
    for (let index = elements.length; index < this.length; index++) elements.push(undefined);
    return elements;
  }

  #changed(length: number, index: number, value: T | undefined): PersistentArray<T> {
    const elements = this.#own();
    const before = elements[index];
    elements[index] = value;
    const changed = new PersistentArray<T>(length, { type: 'newest', elements });
    this.#state = { type: 'older', index, value: before, newer: changed };
    return changed;
  }

  /** Takes the elements over from the newest version, turning every difference on the way around. */
  #own(): (T | undefined)[] {
    if (this.#state.type === 'newest') return this.#state.elements;
    const path: PersistentArray<T>[] = [];
    let newest: PersistentArray<T> = this;
    while (newest.#state.type === 'older') {
      path.push(newest);
      newest = newest.#state.newer;
    }
    const { elements } = newest.#state;
    for (let older = path.pop(); older !== undefined; older = path.pop()) {
      if (older.#state.type !== 'older') break;
      const { index, value } = older.#state;
      newest.#state = { type: 'older', index, value: elements[index], newer: older };
      elements[index] = value;
      older.#state = { type: 'newest', elements };
      newest = older;
    }
    return elements;
  }
}
