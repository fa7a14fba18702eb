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

  test('leaves large points out when it is quick, unless told', () => {
    expect(parseOptions([], SECTIONS)?.most).toBe(1_000_000);
    expect(parseOptions(['--quick'], SECTIONS)?.most).toBe(16);
    expect(parseOptions(['--quick', '--most', '100'], SECTIONS)?.most).toBe(100);
    expect(() => parseOptions(['--most', '0'], SECTIONS)).toThrow('--most 0: a whole number from 1 to 1000000 was expected');
  });

  test('refuses a section that is not there, with or without --only', () => {
    expect(() => parseOptions(['swap'], SECTIONS)).toThrow('swap is no section: the sections are rest, savedmodel');
    expect(() => parseOptions(['--only', 'swap'], SECTIONS)).toThrow('swap is no section');
  });
});
