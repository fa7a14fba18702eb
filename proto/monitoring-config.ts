/** `tensorflow.serving.MonitoringConfig` (`--monitoring_config_file`): whether and where Prometheus finds metrics. */
import { field, message, SCALAR, submessage } from './schema.ts';
import { parseText } from './text-format.ts';

/** The metrics' endpoint. */
export interface MonitoringConfig {
  readonly prometheusEnabled: boolean;
  /** The path on the REST port; TensorFlow Serving's default when the file names none. */
  readonly prometheusPath: string;
}

/** Where TensorFlow Serving serves metrics unless told otherwise. */
export const DEFAULT_PROMETHEUS_PATH = '/monitoring/prometheus/metrics';

const MONITORING_CONFIG = message('tensorflow.serving.MonitoringConfig', {
  prometheus_config: submessage(
    1,
    message('tensorflow.serving.PrometheusConfig', { enable: field(1, SCALAR.bool), path: field(2, SCALAR.string) }),
  ),
});

/** Parses a file's text. Throws INVALID_ARGUMENT naming line, column and field. */
export function parseMonitoringConfigText(text: string): MonitoringConfig {
  const { prometheus_config: prometheus } = parseText(MONITORING_CONFIG, text);
  return { prometheusEnabled: prometheus?.enable ?? false, prometheusPath: prometheus?.path || DEFAULT_PROMETHEUS_PATH };
}
