import type { Picture } from './picture.ts';
import type { ServerOptions } from './servers.ts';

/** What a section is given. */
export interface BenchContext {
  /** Times that each subject is measured. */
  readonly rounds: number;
  /** Seconds of each measurement. */
  readonly seconds: number;
  /** Sections about growth leave out what is more than this: models, connections, rows. */
  readonly most: number;
  readonly servers: ServerOptions;
  /** A Python to ask for TensorFlow; empty: none. */
  readonly python: string;
  /** Says on the terminal what happens. */
  say(line: string): void;
}

/** One line of the table: a figure, what it is held against, and what came of it. */
export interface BenchRow {
  readonly path: string;
  /** The measured values behind the figure, as `embedded: 31,200/s`. */
  readonly values: readonly string[];
  readonly figure: number;
  /** `x`: a ratio. */
  readonly unit: 'x' | 'ms' | 's' | '/s' | 'MB' | 'errors' | 'transposes';
  /** Null: for information. */
  readonly target: { readonly atLeast: number } | { readonly atMost: number } | null;
  /** What `figure` is, such as `of naive`. */
  readonly of: string;
}

/** How a cost grows with something: a table and a picture of it. */
export interface Growth {
  /** The heading. */
  readonly question: string;
  /** What was done, and what bounds the figures. Markdown. */
  readonly text: string;
  readonly columns: readonly string[];
  /** As many cells in each as there are columns. */
  readonly rows: readonly (readonly string[])[];
  readonly picture: Picture;
}

/** What a section about growth found. */
export interface GrowthFindings {
  readonly rows: readonly BenchRow[];
  readonly growth: Growth;
}

/** A part of the bench that can be run alone (`--only`). */
export interface BenchSection {
  readonly name: string;
  readonly about: string;
  readonly needsWrk: boolean;
  /** Servers beside Node that it starts. */
  readonly needsMesh: boolean;
  run(context: BenchContext): Promise<readonly BenchRow[] | GrowthFindings>;
}

/** True when the row meets its target, or has none. */
export function meetsTarget({ figure, target }: BenchRow): boolean {
  if (target === null) return true;
  return 'atLeast' in target ? figure >= target.atLeast : figure <= target.atMost;
}

/** `31,200/s`. */
export function perSecond(value: number): string {
  return `${Math.round(value).toLocaleString('en-US')}/s`;
}

/** `0.42 ms`. */
export function milliseconds(value: number): string {
  return `${value.toPrecision(3)} ms`;
}
