import { writeFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * A module of sources whose behaviour a test decides: the location is a JSON file, read at each question. `{versions}` is answered; `{act}` is
 * done instead. Sources that begin and end write a line to `diary`.
 */
export function writeActingModule(folder: string): { readonly file: string; readonly diary: string } {
  const file = join(folder, 'acting.ts');
  const diary = join(folder, 'diary.txt');
  writeFileSync(diary, '');
  writeFileSync(
    file,
    `import { appendFileSync, readFileSync } from 'node:fs';
const diary = ${JSON.stringify(diary)};
const held: unknown[] = [];
const acts: Record<string, () => unknown> = {
  throw: () => { throw new Error('the catalogue is on fire'); },
  hang: () => { for (;;); },
  wait: () => new Promise(() => {}),
  exit: () => process.exit(3),
  reject: () => { setTimeout(() => { throw new Error('nobody catches this'); }, 1); return new Promise(() => {}); },
  heap: () => { for (;;) held.push({ held: 'x' + held.length }); },
  buffers: async () => { for (;;) { held.push(new ArrayBuffer(1 << 20)); await new Promise((resolve) => setTimeout(resolve, 1)); } },
};
export default function source(model: { readonly name: string; readonly location: string }) {
  appendFileSync(diary, 'begin ' + model.name + '\\n');
  return {
    find() {
      const told = JSON.parse(readFileSync(model.location, 'utf8'));
      return told.act === undefined ? told.versions : acts[told.act]();
    },
    stop: () => appendFileSync(diary, 'end ' + model.name + '\\n'),
  };
}
`,
  );
  return { file, diary };
}

/** Replaces what the source at this location says or does. */
export async function say(location: string, told: { readonly versions: unknown } | { readonly act: string }): Promise<void> {
  await writeFile(`${location}.new`, JSON.stringify(told));
  await rename(`${location}.new`, location);
}
