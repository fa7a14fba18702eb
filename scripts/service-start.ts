import { readFileSync } from 'node:fs';

/** How a service is started; `service-start.json` holds the values, for scripts on an older Node as well. */
export interface ServiceStart {
  /** For Node, before the script: see "Memory" in docs/operations.md for what each is worth. */
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** What the npm scripts and the image start every service with. Benches and tests that start services take the same. */
export const SERVICE_START = JSON.parse(readFileSync(new URL('./service-start.json', import.meta.url), 'utf8')) as ServiceStart;
