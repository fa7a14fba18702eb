// Writes docs/config.md from the declaration of all settings: npm run docs:config
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { configDocument } from '#mesh/config.ts';
import { ALL_SETTINGS } from '../services/embedded/config.ts';

writeFileSync(join(import.meta.dirname, '../docs/config.md'), configDocument(ALL_SETTINGS));
