import { relative } from 'node:path';
import { toServeError } from '#mesh/errors.ts';
import type { GatewayCore } from '../gateway/core.ts';
import type { Embedded } from './index.ts';

/** What `npm start` prints when it serves: the ports, every model with its versions and state, and a request to try. */
export function welcomeText(embedded: Embedded, options: { readonly examples: string | null; readonly workingDirectory?: string }): string {
  const { core, restPort, grpcPort } = embedded;
  const lines = ['', 'Headrace is serving'];
  for (const model of core.models()) lines.push(`  ${model.padEnd(16)} ${versionsOf(core, model)}`);
  lines.push(
    `on REST ${restPort === null ? 'off' : `http://localhost:${restPort}`} and gRPC ${grpcPort === null ? 'off' : `localhost:${grpcPort}`}`,
  );
  const ready = core.models().find((model) => core.modelReady(model));
  if (restPort !== null && options.examples !== null && core.modelReady('digits')) {
    const folder = relative(options.workingDirectory ?? '.', options.examples) || '.';
    lines.push(
      '',
      'Try it, in another terminal:',
      `  curl -d @${folder}/digits/request.json http://localhost:${restPort}/v1/models/digits:predict`,
    );
  } else if (restPort !== null && ready !== undefined) {
    lines.push('', 'Try it, in another terminal:', `  curl http://localhost:${restPort}/v1/models/${encodeURIComponent(ready)}/metadata`);
  }
  lines.push('', 'Ctrl-C drains and leaves.', '');
  return lines.join('\n');
}

/** Each version with its state; a model may well wait for its first one. */
function versionsOf(core: GatewayCore, model: string): string {
  try {
    return core
      .status(model, undefined)
      .map(({ version, state, status }) => `version ${version} ${state}${status.message === '' ? '' : ` (${status.message})`}`)
      .join(', ');
  } catch (caught) {
    return `no version yet: ${toServeError(caught).message}`;
  }
}
