import { resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parseServableModules, servablePlatformNames } from '#mesh/servable-module-settings.ts';

describe('--servable_modules', () => {
  test('names files, relative ones to where the process started', () => {
    expect(parseServableModules(' a=/x/a.ts, b-2=lib/b.mjs ,')).toEqual([
      { name: 'a', file: '/x/a.ts' },
      { name: 'b-2', file: resolve('lib/b.mjs') },
    ]);
    expect(parseServableModules('')).toEqual([]);
  });

  test('gives platforms beside those that come with Headrace, and may replace them', () => {
    expect([...servablePlatformNames('a=/x/a.ts,hashmap=/x/own.ts')].sort()).toEqual(['a', 'hashmap']);
  });

  test.each([
    ['/x/a.ts', '"/x/a.ts" is not NAME=FILE'],
    ['a=', '"a=" is not NAME=FILE'],
    ['1a=/x/a.ts', 'is not NAME=FILE'],
    ['a=/x/a.so', '/x/a.so is no .ts, .mts, .js or .mjs file'],
    ['a=/x/a.ts,a=/x/b.ts', 'the name a is taken'],
    ['onnx=/x/a.ts', 'the name onnx is taken'],
    ['tensorflow=/x/a.ts', 'the name tensorflow is taken'],
  ])('%s is refused', (setting, why) => {
    expect(() => parseServableModules(setting)).toThrow(why);
  });
});
