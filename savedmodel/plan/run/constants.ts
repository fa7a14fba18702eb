/** The constants of a plan, read from `constants.bin` when they are first used: each in memory of its own, so that views are aligned. */
import { type FileHandle, open } from 'node:fs/promises';
import { ServeError } from '#mesh/errors.ts';
import type { ConstantPlan } from '../plan.ts';
import { HeldTensor } from './value.ts';

/** Reads constants by index. */
export class Constants {
  readonly #file: string;
  readonly #plans: readonly ConstantPlan[];
  readonly #loaded = new Map<number, Promise<HeldTensor>>();
  #handle: FileHandle | undefined;

  private constructor(file: string, plans: readonly ConstantPlan[], handle: FileHandle | undefined) {
    this.#file = file;
    this.#plans = plans;
    this.#handle = handle;
  }

  /** Opens the file. Throws DATA_LOSS, naming it, when it is missing or shorter than the constants need. */
  static async open(file: string, plans: readonly ConstantPlan[]): Promise<Constants> {
    const needed = plans.reduce((end, { offset, byteLength }) => Math.max(end, offset + byteLength), 0);
    if (needed === 0) return new Constants(file, plans, undefined);
    let handle: FileHandle;
    try {
      handle = await open(file, 'r');
    } catch (caught) {
      throw new ServeError('DATA_LOSS', `${file} cannot be opened: ${caught}`, { cause: caught });
    }
    const { size } = await handle.stat();
    if (size >= needed) return new Constants(file, plans, handle);
    await handle.close();
    throw new ServeError('DATA_LOSS', `${file} is damaged: it has ${size} bytes, the plan's constants need ${needed}`);
  }

  /** One constant; the same object each time. Throws DATA_LOSS when it cannot be read. */
  get(index: number): Promise<HeldTensor> {
    let held = this.#loaded.get(index);
    if (held === undefined) {
      held = this.read(index);
      this.#loaded.set(index, held);
      held.catch(() => this.#loaded.delete(index));
    }
    return held;
  }

  /** One constant, read anew and not kept: for what is used once, as a variable's first value. Throws as `get`. */
  async read(index: number): Promise<HeldTensor> {
    const plan = this.#plans[index];
    if (plan === undefined) throw new ServeError('DATA_LOSS', `the plan has ${this.#plans.length} constants, ${index} is not one of them`);
    const { dtype, shape, offset, byteLength } = plan;
    const bytes = new Uint8Array(byteLength);
    for (let done = 0; done < byteLength; ) {
      if (this.#handle === undefined) throw new ServeError('UNAVAILABLE', `${this.#file} was closed: its model is unloaded`);
      const { bytesRead } = await this.#handle.read(bytes, done, Math.min(byteLength - done, 1 << 30), offset + done);
      if (bytesRead === 0) throw new ServeError('DATA_LOSS', `${this.#file} ended at byte ${offset + done} while it was read`);
      done += bytesRead;
    }
    return HeldTensor.ofTensor({ dtype, shape, bytes });
  }

  /** Closes the file and forgets what was read. */
  close(): void {
    this.#loaded.clear();
    void this.#handle?.close().catch(() => undefined);
    this.#handle = undefined;
  }
}
