import { readFileSync } from 'node:fs';
import { ServeError } from '#mesh/errors.ts';
import { parseMonitoringConfigText } from '#proto/monitoring-config.ts';
import type { RestSettings } from './rest/config.ts';
import type { RestServerSettings } from './rest/server.ts';

/** What the REST server is started with. Throws INVALID_ARGUMENT when the monitoring configuration cannot be read. */
export function restServerSettings(settings: RestSettings): RestServerSettings {
  return {
    port: settings.restApiPort,
    host: settings.restApiHost,
    timeoutMs: settings.restApiTimeoutInMs,
    enableCors: settings.restApiEnableCorsSupport,
    metricsPath: metricsPath(settings.monitoringConfigFile),
    maxBodyBytes: settings.restApiMaxBodyBytes,
    bodyTimeoutMs: settings.restApiBodyTimeoutInMs,
  };
}

/** Where metrics are served; null: nowhere, as in TensorFlow Serving without its monitoring configuration. */
function metricsPath(file: string): string | null {
  if (file === '') return null;
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (caught) {
    throw new ServeError('INVALID_ARGUMENT', `monitoring_config_file ${file} cannot be read`, { cause: caught });
  }
  const { prometheusEnabled, prometheusPath } = parseMonitoringConfigText(text);
  return prometheusEnabled ? prometheusPath : null;
}
