import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where the recorded answers of the real servers are; outside the repository, so that tests skip where it is absent. */
const SHARED = join(import.meta.dirname, '../../../shared');

/** True when the recordings are beside the repository. */
export const hasTranscripts: boolean = existsSync(join(SHARED, 'conformance'));

/** A path below the shared folder. */
export function sharedPath(...parts: readonly string[]): string {
  return join(SHARED, ...parts);
}

/** The recorded pairs of one file. */
export function readTranscript<Entry>(name: string): Entry[] {
  if (!hasTranscripts) return [];
  return readFileSync(sharedPath('conformance', name), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Entry);
}

/**
 * Parses JSON as TensorFlow Serving prints it, numbers kept as printed (so that 1.0 and 1 differ) and bare NaN and Infinity taken.
 * Text that is not JSON comes back as it is.
 */
export function parsePrinted(text: string): unknown {
  const tokens = /"(?:[^"\\]|\\.)*"|-?(?:Infinity|NaN|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;
  try {
    return JSON.parse(text.replace(tokens, (token) => (token.startsWith('"') ? token : JSON.stringify(`number ${token}`))));
  } catch {
    return text;
  }
}

/** A text without what a recorded SignatureDef prints: its order is not fixed. */
export function withoutSignatureDef(text: string): string {
  return text.replace(/( in SignatureDef: )[\s\S]*$/, '$1');
}
