import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Declaration } from './config.ts';
import { OP_LIBRARY_SETTINGS } from './op-library-settings.ts';

/** Settings of whoever imports SavedModels: registries, and workers that do not find what a registry imported. */
export const IMPORT_SETTINGS = {
  importCacheDir: {
    name: 'import_cache_dir',
    type: 'string',
    default: '',
    help: 'The folder where imported SavedModels are kept, by digest of their content. Registries and workers that share it import each model once for all. Empty: .cache/headrace/imports in the home folder.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  importCacheMaxBytes: {
    name: 'import_cache_max_bytes',
    type: 'int',
    default: 16 * 1024 * 1024 * 1024,
    min: 0,
    help: 'When the import cache grows beyond this, in bytes, what was not used for the longest time leaves it; what was used in the last five minutes stays. 0: no limit.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  ...OP_LIBRARY_SETTINGS,
} as const satisfies Declaration;

/** The folder that `--import_cache_dir` means. */
export function importCacheFolder(setting: string): string {
  return setting === '' ? join(homedir(), '.cache', 'headrace', 'imports') : setting;
}
