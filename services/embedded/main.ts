import { join } from 'node:path';
import { createSystemClock } from '#mesh/clock.ts';
import { runProcess } from '#mesh/run-process.ts';
import { EMBEDDED_SETTINGS } from './config.ts';
import { configOfFolder } from './example-models.ts';
import { startEmbedded } from './index.ts';
import { welcomeText } from './welcome.ts';

const EXAMPLES = join(import.meta.dirname, '../../examples');

await runProcess(process, {
  service: 'headrace',
  declaration: EMBEDDED_SETTINGS,
  async start({ settings, telemetry }) {
    const { modelBasePath, modelConfigFile } = settings.values;
    const tryingOut = modelBasePath === '' && modelConfigFile === '';
    const examples = tryingOut ? configOfFolder(join(EXAMPLES, 'models')) : undefined;
    // The examples are ours, and their rows are independent: batching is safe, and on unless the user says otherwise.
    const values = {
      ...settings.values,
      ...(tryingOut && !settings.given.has('enableBatching') ? { enableBatching: true } : {}),
      ...(settings.given.has('restApiPort') ? {} : { restApiPort: 8501 }),
    };
    const embedded = await startEmbedded({
      settings: values,
      telemetry,
      clock: createSystemClock(),
      ...(examples === undefined ? {} : { defaultConfigText: examples }),
    });
    process.stdout.write(welcomeText(embedded, { examples: tryingOut ? EXAMPLES : null }));
    return embedded;
  },
});
