import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** A ModelServerConfig (text form) that serves every model folder below `directory`; undefined when there is none. */
export function configOfFolder(directory: string): string | undefined {
  if (!existsSync(directory)) return undefined;
  const names = readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
  if (names.length === 0) return undefined;
  const models = names.map((name) => `  config { name: ${JSON.stringify(name)} base_path: ${JSON.stringify(join(directory, name))} }`);
  return `model_config_list {\n${models.join('\n')}\n}\n`;
}
