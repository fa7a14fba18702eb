/**
 * A source that pushes: the versions are listed in a JSON file, once for all. With `--source_modules=static=…/static-source.ts` a model whose
 * base path is `static:/etc/models/resnet.json` is served from the folders that this file names:
 *
 *     {"versions": [{"version": 3, "path": "/models/resnet/2026-11-20"}]}
 *
 * A path that is relative is so to the file.
 */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { FoundVersion, SourceFactory } from '../../extend/sources.ts';

const staticSource: SourceFactory = ({ location }) => ({
  async start(aspire) {
    const { versions } = JSON.parse(await readFile(location, 'utf8')) as { readonly versions: readonly FoundVersion[] };
    aspire(versions.map(({ version, path }) => ({ version, path: resolve(dirname(location), path) })));
  },
});

export default staticSource;
