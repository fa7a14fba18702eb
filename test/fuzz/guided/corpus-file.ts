/** The inputs that are kept for a target: `corpus/NAME.jsonl`, one JSON object a line. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** An input that is kept. */
export interface KeptInput {
  readonly bytes: Uint8Array;
  /** What it broke once; undefined for one that is kept because it reaches code that no other reaches. */
  readonly why?: string;
}

const FOLDER = join(import.meta.dirname, 'corpus');

/** The inputs kept for a target; none without a file. */
export function readCorpus(name: string): readonly KeptInput[] {
  const path = join(FOLDER, `${name}.jsonl`);
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const { base64, why } = JSON.parse(line) as { readonly base64: string; readonly why?: string };
      return { bytes: new Uint8Array(Buffer.from(base64, 'base64')), ...(why === undefined ? {} : { why }) };
    });
}

/** Writes a target's file anew: what broke something first, in the order it was found. */
export function writeCorpus(name: string, inputs: readonly KeptInput[]): void {
  const lines = [...inputs.filter(({ why }) => why !== undefined), ...inputs.filter(({ why }) => why === undefined)].map(({ bytes, why }) =>
    JSON.stringify({ ...(why === undefined ? {} : { why }), base64: Buffer.from(bytes).toString('base64') }),
  );
  writeFileSync(join(FOLDER, `${name}.jsonl`), lines.map((line) => `${line}\n`).join(''));
}
