import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeMessage, encodeMessage } from '#proto/message.ts';
import {
  decodeModelServerConfig,
  encodeModelServerConfig,
  type ModelServerConfig,
  parseModelConfigText,
  parseModelServerConfigText,
  printModelConfigText,
  printModelServerConfigText,
} from '#proto/model-server-config.ts';
import { parseMonitoringConfigText } from '#proto/monitoring-config.ts';
import { parsePlatformConfigText } from '#proto/platform-config.ts';
import { ANY, field, message, optional, repeated, SCALAR, submessage } from '#proto/schema.ts';
import { parseSslConfigText } from '#proto/ssl-config.ts';
import { parseText, printText } from '#proto/text-format.ts';
import { asObject, encoded, loadRoot } from './protobuf-root.ts';

const root = loadRoot();
const CONFIG = 'tensorflow.serving.ModelServerConfig';
const model = {
  name: 'm',
  basePath: '/models/m',
  modelPlatform: 'tensorflow',
  modelType: 'MODEL_TYPE_UNSPECIFIED' as const,
  versionPolicy: { type: 'latest' as const, numVersions: 1 },
  versionLabels: {},
  logging: null,
};

const NUMBERS = message('test.Numbers', {
  small: field(1, SCALAR.int32),
  natural: field(2, SCALAR.uint32),
  large: field(3, SCALAR.int64),
  single: field(4, SCALAR.float),
  precise: field(5, SCALAR.double),
  yes: field(6, SCALAR.bool),
  text: field(7, SCALAR.string),
  raw: field(8, SCALAR.bytes),
  list: repeated(9, SCALAR.int64),
  maybe: optional(10, SCALAR.uint64),
  any: submessage(11, ANY),
});

describe('text format', () => {
  test('the example of the serving guide reads as it says', () => {
    const config = parseModelServerConfigText(`
      model_config_list {
        config {
          name: 'my_first_model'
          base_path: '/models/my_first_model/'
          model_platform: 'tensorflow'
          model_version_policy { specific { versions: 42 versions: 43 } }
          version_labels { key: 'stable' value: 43 }
          version_labels { key: 'canary' value: 44 }
        }
      }`);
    expect(config).toEqual({
      type: 'list',
      models: [
        {
          ...model,
          name: 'my_first_model',
          basePath: '/models/my_first_model/',
          versionPolicy: { type: 'specific', versions: [42, 43] },
          versionLabels: { stable: 43, canary: 44 },
        },
      ],
    });
  });

  const spellings: readonly (readonly [string, string])[] = [
    ['braces', 'model_config_list { config { name: "m" base_path: "/models/m" model_platform: "tensorflow" } }'],
    ['angles and colons', 'model_config_list: < config: < name: "m"; base_path: "/models/m", model_platform: "tensorflow" > >'],
    ['lists', 'model_config_list { config: [{ name: "m" base_path: "/models/m" model_platform: "tensorflow" }] }'],
    [
      'comments',
      '# all\nmodel_config_list { # one\n config { name: "m" # two\n base_path: "/models/m" model_platform: "tensorflow" } }#end',
    ],
    ['strings in pieces', 'model_config_list{config{name:\'m\'base_path:"/models" "/" \'m\' model_platform:"tensor"\n"flow"}}'],
    ['escapes', String.raw`model_config_list { config { name: "\155" base_path: "\x2fmodels\u002fm" model_platform: "\164ensorflow" } }`],
    [
      'the default policy',
      'model_config_list { config { name: "m" base_path: "/models/m" model_platform: "tensorflow" model_version_policy { latest { num_versions: 1 } } } }',
    ],
  ];
  test.each(spellings)('%s spell the same model', (_, text) => {
    expect(parseModelServerConfigText(text)).toEqual({ type: 'list', models: [model] });
  });

  test('an empty text is an empty configuration', () => {
    expect(parseModelServerConfigText('')).toEqual({ type: 'unset' });
    expect(parseModelServerConfigText('model_config_list { }')).toEqual({ type: 'list', models: [] });
    expect(parseModelServerConfigText('model_config_list { config: [] }')).toEqual({ type: 'list', models: [] });
  });

  test('the deprecated model type, all versions and a logging config are kept', () => {
    const parsed = parseModelConfigText(
      'name: "a" model_type: 1 model_version_policy { all {} } logging_config { sampling_config { sampling_rate: .5 } }',
    );
    expect(parsed).toMatchObject({
      modelType: 'TENSORFLOW',
      versionPolicy: { type: 'all' },
      logging: { sampling_config: { sampling_rate: 0.5 } },
    });
    expect(parseModelConfigText(printModelConfigText(parsed))).toEqual(parsed);
  });

  test('a custom configuration keeps the name of its message', () => {
    const parsed = parseModelServerConfigText('custom_model_config { [type.googleapis.com/my.Config] { a: 1 b < c: "}" d: [1, 2] > } }');
    expect(parsed).toMatchObject({ type: 'custom', typeUrl: 'type.googleapis.com/my.Config' });
  });

  const numbers: readonly (readonly [string, Record<string, unknown>])[] = [
    ['small: -17 natural: 0x1F large: 017', { small: -17, natural: 31, large: 15 }],
    ['small: - 17', { small: -17 }],
    ['large: -9223372036854775808', { large: -(2 ** 63) }],
    ['single: 1.5f precise: 1e3', { single: 1.5, precise: 1000 }],
    ['single: inf precise: -infinity', { single: Infinity, precise: -Infinity }],
    ['precise: nan', { precise: Number.NaN }],
    ['single: 3 precise: .25', { single: 3, precise: 0.25 }],
    ['yes: true', { yes: true }],
    ['yes: t list: 1 list: [2, 3] list: []', { yes: true, list: [1, 2, 3] }],
    ['maybe: 0', { maybe: 0 }],
    [String.raw`text: "\"\'\\\n\t\?" raw: "\377\x00\0011"`, { text: '"\'\\\n\t?', raw: new Uint8Array([255, 0, 1, 49]) }],
    [String.raw`text: "\u00e4\U0001F600\ud83d\ude00ß"`, { text: 'ä😀😀ß' }],
  ];
  test.each(numbers)('%s', (text, values) => {
    expect(parseText(NUMBERS, text)).toMatchObject(values);
    expect(parseText(NUMBERS, printText(NUMBERS, parseText(NUMBERS, text)))).toEqual(parseText(NUMBERS, text));
  });

  test('an Any of a known message is encoded where it stands', () => {
    const { any } = parseText(NUMBERS, 'any { [type.googleapis.com/test.Numbers] { small: 5 text: "x" } }', [NUMBERS]);
    expect(any?.type_url).toBe('type.googleapis.com/test.Numbers');
    expect(decodeMessage(NUMBERS, any?.value ?? new Uint8Array(0))).toMatchObject({ small: 5, text: 'x' });
  });

  const mistakes: readonly (readonly [string, string])[] = [
    ['model_config_list { config { nme: "x" } }', '1:30: Message type "tensorflow.serving.ModelConfig" has no field named "nme".'],
    ['model_config_list {\n  config {\n    name: 5\n  }\n}', '3:11: Expected string, got: 5'],
    ['model_config_list { config { name "x" } }', '1:35: Expected ":", found ""x"".'],
    ['model_config_list { config { name: "a" name: "b" } }', '1:40: Non-repeated field "name" is specified multiple times.'],
    [
      'custom_model_config {}\nmodel_config_list {}',
      '2:1: Field "model_config_list" is specified along with field "custom_model_config", another member of oneof "config".',
    ],
    ['model_config_list { config { name: "a" ', '1:40: Expected "}", found "".'],
    ['model_config_list { config { name: "a }\n } }', '1:36: String literals cannot cross line boundaries.'],
    ['model_config_list { config { model_type: FOO } }', '1:42: Unknown enumeration value of "FOO" for field "model_type".'],
    [
      'model_config_list { config { version_labels { key: "a" value: 9223372036854775808 } } }',
      '1:63: Integer out of range (9223372036854775808)',
    ],
    ['model_config_list { config { version_labels { key: "a" value: 1.5 } } }', '1:63: Expected integer, got: 1.5'],
    ['model_config_list { config { model_version_policy { latest { num_versions: -1 } } } }', '1:77: Integer out of range (-1)'],
    ['model_config_list: 7', '1:20: Expected "{", found "7".'],
    ['}', '1:1: Expected identifier, got: }'],
    ['model_config_list { config { name: "\\q" } }', '1:36: Invalid escape sequence in string literal.'],
    ['@', '1:1: Invalid character "@".'],
  ];
  test.each(mistakes)('%j is refused with its place', (text, error) => {
    expect(() => parseModelServerConfigText(text)).toThrow(`Error parsing text-format ${CONFIG}: ${error}`);
  });

  test('a text nested too deep is refused', () => {
    const deep = `custom_model_config { [a/b] ${'{ x '.repeat(5000)}${'}'.repeat(5000)} }`;
    expect(() => parseModelServerConfigText(deep)).toThrow(/too deep/);
  });

  test('any text is read or refused with a ServeError that names a place', () => {
    const pieces = [
      'model_config_list',
      'config',
      'name',
      ':',
      '{',
      '}',
      '<',
      '>',
      '[',
      ']',
      '"a"',
      "'",
      '\\',
      '-',
      '1',
      '0x',
      ',',
      ';',
      '#',
      '\n',
      ' ',
      'é',
    ];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 30 }), (parts) => {
        try {
          parseModelServerConfigText(parts.join(''));
        } catch (caught) {
          expect(caught).toMatchObject({ name: 'ServeError', code: 'INVALID_ARGUMENT', message: expect.stringMatching(/: \d+:\d+: /) });
        }
      }),
      { numRuns: 2000 },
    );
  });
});

const models = fc.record({
  name: fc.string({ unit: 'grapheme' }),
  basePath: fc.string(),
  modelPlatform: fc.constantFrom('', 'tensorflow', 'onnx'),
  modelType: fc.constantFrom('MODEL_TYPE_UNSPECIFIED' as const, 'TENSORFLOW' as const, 'OTHER' as const),
  versionPolicy: fc.oneof(
    fc.record({ type: fc.constant('latest' as const), numVersions: fc.integer({ min: 1, max: 2 ** 32 - 1 }) }),
    fc.record({ type: fc.constant('all' as const) }),
    fc.record({ type: fc.constant('specific' as const), versions: fc.array(fc.maxSafeInteger()) }),
  ),
  versionLabels: fc.dictionary(
    fc.string().filter((key) => key !== '__proto__'),
    fc.maxSafeInteger(),
    { noNullPrototype: true },
  ),
  logging: fc.constant(null),
});
const configs: fc.Arbitrary<ModelServerConfig> = fc.record({
  type: fc.constant('list' as const),
  models: fc.array(models, { maxLength: 4 }),
});

describe('ModelServerConfig', () => {
  test('every configuration comes back from its text and from its bytes', () => {
    fc.assert(
      fc.property(configs, (config) => {
        expect(parseModelServerConfigText(printModelServerConfigText(config))).toEqual(config);
        expect(decodeModelServerConfig(encodeModelServerConfig(config))).toEqual(config);
      }),
    );
  });

  test('protobufjs reads the same message and writes it back for us', () => {
    fc.assert(
      fc.property(configs, (config) => {
        const bytes = encodeModelServerConfig(config);
        const again = encoded(root, CONFIG, asObject(root, CONFIG, bytes) as Record<string, unknown>);
        expect(decodeModelServerConfig(again)).toEqual(config);
      }),
    );
  });

  test('an enum number that is not known reads as the default', () => {
    const unknown = encodeMessage(message('x', { model_type: field(3, SCALAR.int32) }), { model_type: 99 });
    expect(parseModelConfigText('').modelType).toBe('MODEL_TYPE_UNSPECIFIED');
    const wrapped = encodeMessage(message('x', { list: field(1, SCALAR.bytes) }), {
      list: encodeMessage(message('x', { config: field(1, SCALAR.bytes) }), { config: unknown }),
    });
    expect(decodeModelServerConfig(wrapped)).toMatchObject({ models: [{ modelType: 'MODEL_TYPE_UNSPECIFIED' }] });
  });
});

describe('the other configuration files', () => {
  test('monitoring: enabled, with the path of TensorFlow Serving unless told otherwise', () => {
    expect(parseMonitoringConfigText('prometheus_config { enable: true, path: "/metrics" }')).toEqual({
      prometheusEnabled: true,
      prometheusPath: '/metrics',
    });
    expect(parseMonitoringConfigText('')).toEqual({ prometheusEnabled: false, prometheusPath: '/monitoring/prometheus/metrics' });
  });

  test('TLS: PEM text over several lines', () => {
    const text = 'server_key: "-----BEGIN\\nkey"\nserver_cert: "cert" client_verify: true';
    expect(parseSslConfigText(text)).toEqual({ serverKey: '-----BEGIN\nkey', serverCert: 'cert', customCa: '', clientVerify: true });
  });

  test('platforms: their names and the types of their settings', () => {
    const text = `platform_configs { key: "tensorflow" value { source_adapter_config {
      [type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig] { legacy_config { session_config { gpu_options { x: 0.5 } } } } } } }`;
    expect([...parsePlatformConfigText(text)]).toEqual([
      ['tensorflow', 'type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig'],
    ]);
  });
});
