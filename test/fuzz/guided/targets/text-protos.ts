/** Settings files in protobuf's text format. */
import { parseBatchingParametersText, printBatchingParametersText, toBatchingLimits } from '#proto/batching-parameters.ts';
import {
  decodeModelServerConfig,
  encodeModelServerConfig,
  parseModelServerConfigText,
  printModelServerConfigText,
} from '#proto/model-server-config.ts';
import { parseMonitoringConfigText } from '#proto/monitoring-config.ts';
import { parsePlatformConfigText } from '#proto/platform-config.ts';
import { parseSslConfigText } from '#proto/ssl-config.ts';
import { agree, type FuzzTarget, orRefused } from '../target.ts';

const WORDS = [
  '{',
  '}',
  '[',
  ']',
  '<',
  '>',
  ':',
  ',',
  ';',
  '"',
  "'",
  '\\',
  '#',
  '\\x41',
  '\\u{d800}',
  '\\U00110000',
  '\\377',
  '-',
  '0x',
  '1e5',
  'inf',
  'nan',
  'true',
  '.5f',
  '[type.googleapis.com/a.B]',
  '\n',
];
const MODELS = `model_config_list { config { name: 'a' base_path: "/m/\\x41" "b" model_type: TENSORFLOW model_platform: 'onnx'
  model_version_policy { specific { versions: 1 versions: [2, 3] } } version_labels { key: 'stable' value: 1 }
  logging_config { sampling_config { sampling_rate: 0.5e-3 } } } } # end`;

/** Printed and parsed again, encoded and decoded again, a configuration is the same, but for what is lost of numbers beyond 2^53. */
function modelConfig(bytes: Uint8Array): void {
  const config = orRefused(() => parseModelServerConfigText(Buffer.from(bytes).toString('utf8')));
  if (config === undefined) return;
  const printed = printModelServerConfigText(config);
  agree('what is printed and parsed again', printModelServerConfigText(parseModelServerConfigText(printed)), printed);
  agree('what is encoded and decoded again', printModelServerConfigText(decodeModelServerConfig(encodeModelServerConfig(config))), printed);
}

function batching(bytes: Uint8Array): void {
  const parameters = orRefused(() => parseBatchingParametersText(Buffer.from(bytes).toString('utf8')));
  if (parameters === undefined) return;
  const printed = printBatchingParametersText(parameters);
  agree('what is printed and parsed again', printBatchingParametersText(parseBatchingParametersText(printed)), printed);
  const limits = orRefused(() => toBatchingLimits(parameters));
  if (limits === undefined) return;
  const { maxBatchSize, batchTimeoutMicros, allowedBatchSizes } = limits;
  if (!(maxBatchSize >= 1) || !(batchTimeoutMicros >= 0)) throw new Error(`a batch of ${maxBatchSize} after ${batchTimeoutMicros} µs`);
  if (allowedBatchSizes.some((size, at) => size < 1 || size <= (allowedBatchSizes[at - 1] ?? 0)))
    throw new Error(`sizes ${allowedBatchSizes}`);
}

const OTHERS = [parseMonitoringConfigText, parseSslConfigText, parsePlatformConfigText];
const text = (...texts: readonly string[]) => texts.map((one) => Buffer.from(one));

/** Targets of this file. */
export const TARGETS: readonly FuzzTarget[] = [
  {
    name: 'model-config',
    format: 'text',
    covers: ['proto/'],
    words: [...WORDS, 'custom_model_config', 'latest { num_versions: 2 }', 'all {}', 'config', 'version_labels'],
    seeds: () =>
      text(
        MODELS,
        'custom_model_config { [type.googleapis.com/a.B] { x: 1 } }',
        'custom_model_config { type_url: "a/b" value: "\\001" }',
        '',
      ),
    check: modelConfig,
  },
  {
    name: 'batching-parameters',
    format: 'text',
    covers: ['proto/'],
    words: WORDS,
    seeds: () =>
      text(
        'max_batch_size { value: 32 } batch_timeout_micros { value: 5000 } allowed_batch_sizes: 8 allowed_batch_sizes: 32 pad_variable_length_inputs: true',
        'num_batch_threads { value: 4 } max_enqueued_batches { value: 0 } thread_pool_name { value: "p" } enable_large_batch_splitting { value: true } max_execution_batch_size { value: 16 }',
      ),
    check: batching,
  },
  {
    name: 'other-text-protos',
    format: 'text',
    covers: ['proto/'],
    words: WORDS,
    seeds: () =>
      text(
        '\0prometheus_config { enable: true path: "/metrics" }',
        '\x01server_key: "a\\nb" server_cert: \'c\' custom_ca: "" client_verify: false',
        '\x02platform_configs { key: "tensorflow" value { source_adapter_config { [type.googleapis.com/a.B] { x { y: [1, 2] } } } } }',
      ),
    check: (bytes) => orRefused(() => OTHERS[(bytes[0] ?? 0) % OTHERS.length]?.(Buffer.from(bytes.subarray(1)).toString('utf8'))),
  },
];
