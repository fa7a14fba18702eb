import { describe, expect, test } from '@jest/globals';
import { type Declaration, helpText, parseSettings, SettingError } from '#mesh/config.ts';

const DECLARATION = {
  port: {
    name: 'port',
    type: 'int',
    default: 8500,
    help: 'gRPC port.',
    group: 'TensorFlow Serving',
    treatment: 'honoured',
    min: 0,
    max: 65_535,
  },
  cors: { name: 'cors', type: 'bool', default: true, help: 'CORS.', group: 'TensorFlow Serving', treatment: 'honoured' },
  tpu: { name: 'tpu', type: 'string', default: '', help: 'There is no TPU.', group: 'TensorFlow Serving', treatment: 'ignored' },
  level: {
    name: 'level',
    type: 'string',
    default: 'info',
    help: 'Level.',
    group: 'Headrace',
    treatment: 'honoured',
    oneOf: ['info', 'warn'],
  },
} as const satisfies Declaration;

const parse = (args: readonly string[], env: Record<string, string> = {}, fileText = '') =>
  parseSettings(DECLARATION, { args, env, fileText });

describe('settings', () => {
  test('a flag beats the environment, which beats the file, which beats the default', () => {
    expect(parse([]).values.port).toBe(8500);
    expect(parse([], {}, 'port = 1 \n# port = 9\n').values.port).toBe(1);
    expect(parse([], { HEADRACE_PORT: '2' }, 'port = 1').values.port).toBe(2);
    expect(parse(['--port=3'], { HEADRACE_PORT: '2' }, 'port = 1').values.port).toBe(3);
  });

  test.each([
    [['--port', '7'], 7, true],
    [['-port=7'], 7, true],
    [['--nocors'], 8500, false],
    [['--cors=false'], 8500, false],
    [['--cors'], 8500, true],
  ] as const)('%j is understood', (args, port, cors) => {
    expect(parse(args).values).toMatchObject({ port, cors });
  });

  test.each([
    ['--port=http', '--port: "http" is not a whole number from 0 to 65535'],
    ['--port=1.5', '--port: "1.5" is not a whole number from 0 to 65535'],
    ['--port=70000', '--port: "70000" is not a whole number from 0 to 65535'],
    ['--port=', '--port: "" is not a whole number from 0 to 65535'],
    ['--cors=perhaps', '--cors: "perhaps" is not true or false'],
    ['--level=loud', '--level: "loud" is not one of info, warn'],
    ['--port', '--port needs a value'],
  ])('%s stops the start with name, value and range', (argument, message) => {
    expect(() => parse([argument])).toThrow(new SettingError(message));
  });

  test('a bad value in the environment names the variable', () => {
    expect(() => parse([], { HEADRACE_PORT: 'x' })).toThrow('HEADRACE_PORT: "x" is not a whole number');
  });

  test('an unknown flag is reported, not fatal; an unknown line of the file is fatal', () => {
    expect(parse(['--nope=1', 'word']).unknown).toEqual(['--nope=1', 'word']);
    expect(() => parse([], {}, 'nope = 1')).toThrow('settings file: no setting for the line "nope = 1"');
  });

  test('an ignored flag warns once', () => {
    expect(parse(['--tpu=x', '--tpu=y']).warnings).toEqual(['--tpu is accepted and has no effect: There is no TPU.']);
  });

  test('help lists every flag', () => {
    const help = helpText(DECLARATION, 'headrace [flags]');
    for (const { name } of Object.values(DECLARATION)) expect(help).toContain(`--${name}=`);
  });
});
