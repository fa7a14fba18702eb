import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where we answer differently on purpose; each id has a section of this name in docs/compatibility.md. Status and code stay equal. */
export interface Difference {
  readonly id: string;
  /** Of what the real server said. */
  readonly applies: (text: string) => boolean;
}

/** All that the transcripts show. */
export const DIFFERENCES: readonly Difference[] = [
  { id: 'kernel-texts', applies: (text) => /Matrix size-incompatible: .*\{\{node |shape_t must be 1-dimensional.*\{\{node /s.test(text) },
];

/** The difference that a recorded text falls under. */
export function differenceOf(text: string): Difference | undefined {
  return DIFFERENCES.find(({ applies }) => applies(text));
}

/** The page that names them. */
export function compatibilityPage(): string {
  return readFileSync(join(import.meta.dirname, '../../docs/compatibility.md'), 'utf8');
}
