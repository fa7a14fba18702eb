// Writes docs/savedmodel.md from docs/savedmodel.template.md and what the code supports: npm run docs:savedmodel
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { savedModelDocument } from './savedmodel-document.ts';

const docs = join(import.meta.dirname, '../docs');
writeFileSync(join(docs, 'savedmodel.md'), await savedModelDocument(readFileSync(join(docs, 'savedmodel.template.md'), 'utf8')));
