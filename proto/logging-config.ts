/** `tensorflow.serving.LoggingConfig`: where and how often a model's requests are logged. */
import { ANY, field, message, optional, repeatedMessage, SCALAR, submessage } from './schema.ts';

/** Where records go, and to which files. */
export const LOG_COLLECTOR_CONFIG = message('tensorflow.serving.LogCollectorConfig', {
  type: field(1, SCALAR.string),
  filename_prefix: field(2, SCALAR.string),
});

/** The share of requests that are logged, from 0 to 1. */
export const SAMPLING_CONFIG = message('tensorflow.serving.SamplingConfig', {
  sampling_rate: field(1, SCALAR.double),
  attributes: field(2, SCALAR.int32),
  per_task_sampling_configs: repeatedMessage(
    3,
    message('tensorflow.serving.PerTaskSamplingConfig', {
      dc: field(1, SCALAR.string),
      task_index: optional(2, SCALAR.int32),
      sampling_rate: field(3, SCALAR.double),
    }),
  ),
});

/** The logging of one model. */
export const LOGGING_CONFIG = message('tensorflow.serving.LoggingConfig', {
  log_collector_config: submessage(1, LOG_COLLECTOR_CONFIG),
  sampling_config: submessage(2, SAMPLING_CONFIG),
  custom_logging_config: submessage(3, ANY),
});
