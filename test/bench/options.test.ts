import { describe, expect, test } from '@jest/globals';
import { parseOptions } from '../../bench/options.ts';

const SECTIONS = ['rest', 'savedmodel'];

describe("the bench's command line", () => {
  test('takes sections with and without --only, and flags for Headrace after --', () => {
    const options = parseOptions(['savedmodel', '--rounds', '2', '--only=rest', '--python', 'py', '--', '--flag=1', 'rest'], SECTIONS);
    expect(options).toMatchObject({ only: ['savedmodel', 'rest'], rounds: 2, seconds: 5, python: 'py', flags: ['--flag=1', 'rest'] });
  });

  test('asks for all sections when none is named', () => {
    expect(parseOptions(['--quick'], SECTIONS)).toMatchObject({ only: [], rounds: 1, seconds: 1, python: '', flags: [] });
  });

  test('refuses a section that is not there, with or without --only', () => {
    expect(() => parseOptions(['swap'], SECTIONS)).toThrow('swap is no section: the sections are rest, savedmodel');
    expect(() => parseOptions(['--only', 'swap'], SECTIONS)).toThrow('swap is no section');
  });
});
