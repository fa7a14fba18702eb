import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { GatewayCore } from '../../services/gateway/core.ts';
import { type RunningMesh, startRunningMesh } from '../embedded/running-mesh.ts';
import { sharedPath } from './transcripts.ts';

/** Models of the transcripts that differ from their folder by more than the name. */
const SPECIAL: Readonly<Record<string, { readonly folder: string; readonly more: string }>> = {
  ident: {
    folder: 'ident',
    more: `model_version_policy { all {} } version_labels { key: 'stable' value: 1 } version_labels { key: 'canary' value: 3 }`,
  },
  mlp: { folder: 'mlp64', more: '' },
};

/**
 * Starts a mesh that serves SavedModels of the shared folder themselves, with the flags of the recordings. All are named as their folders, but
 * for `mlp`, which is `mlp64`; `ident` is served in both versions, with labels.
 */
export async function startRealModels(names: readonly string[]): Promise<RunningMesh> {
  const config = (name: string) => {
    const { folder, more } = SPECIAL[name] ?? { folder: name, more: '' };
    return `config { name: '${name}' base_path: '${sharedPath('models', folder)}' model_platform: 'tensorflow' ${more} }`;
  };
  const mesh = await startRunningMesh({
    prepare: (folder) =>
      writeFileSync(join(folder, 'monitoring.config'), 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }'),
    config: () => `model_config_list { ${names.map(config).join('\n')} }`,
    flags: (folder) => [
      `--monitoring_config_file=${join(folder, 'monitoring.config')}`,
      `--import_cache_dir=${join(folder, 'cache')}`,
      '--allow_version_labels_for_unavailable_models=true',
    ],
  });
  try {
    if (names.includes('ident')) await untilServed(mesh.embedded.core, 'ident', [1, 3]);
  } catch (caught) {
    await mesh[Symbol.asyncDispose]();
    throw caught;
  }
  return mesh;
}

/** A start waits for one version of each model; the recordings know of all. */
function untilServed(core: GatewayCore, model: string, versions: readonly number[]): Promise<void> {
  const isServed = () => {
    const known = core.status(model, undefined);
    const ended = known.find(({ state }) => state === 'END');
    if (ended !== undefined) throw new Error(`${model} version ${ended.version} ended: ${ended.status.code} ${ended.status.message}`);
    return versions.every((version) => known.some((one) => one.version === version && one.state === 'AVAILABLE'));
  };
  return new Promise((resolve, reject) => {
    const settle = () => {
      try {
        if (!isServed()) return;
        resolve();
      } catch (caught) {
        reject(caught);
      }
      listening[Symbol.dispose]();
    };
    const listening = core.onRoutingChange(settle);
    settle();
  });
}
