import { readFileSync } from 'node:fs';

/** How a process of Headrace is started; `process-settings.json` holds the values, for scripts on an older Node as well. */
export interface ProcessSettings {
  /** For Node, before the script: see "Memory" in docs/operations.md for what each is worth. */
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** What the npm scripts and the image start every service with. Benches and tests that start services take the same. */
export const PROCESS_SETTINGS = JSON.parse(readFileSync(new URL('./process-settings.json', import.meta.url), 'utf8')) as ProcessSettings;
