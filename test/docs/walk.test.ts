import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { matches, takeWalk, walkOf } from './walk.ts';

const fenced = (marker: string, ...lines: readonly string[]) => [`<!-- walk: ${marker} -->`, '', '```sh', ...lines, '```', ''].join('\n');

/** Takes a walk over a page that consists of these blocks. */
async function take(...blocks: readonly string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-page-'));
  try {
    const page = join(folder, 'page.md');
    writeFileSync(page, blocks.join('\nProse.\n\n'));
    return await takeWalk(page);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('the steps of a page', () => {
  test('are what its comments say, in order; other blocks are none', () => {
    const page = [
      fenced('file a/b.ts', 'one', 'two'),
      '```sh\nnot walked\n```\n',
      fenced('run', 'echo 1'),
      fenced('output', '1'),
      '<!-- walk: stop -->',
    ];
    expect(walkOf(page.join('\n'))).toEqual([
      { type: 'file', line: 1, path: 'a/b.ts', text: 'one\ntwo\n' },
      { type: 'run', line: 12, command: 'echo 1', until: null, output: '1' },
      { type: 'stop', line: 24 },
    ]);
  });

  test.each([
    ['a step that does not exist', '<!-- walk: jump -->\n```\nx\n```', 'jump'],
    ['a comment without a block', '<!-- walk: run -->\nprose', 'line 1: no block'],
    ['an output of nothing', '<!-- walk: output -->\n```\nx\n```', 'output'],
    ['a block that does not end', '<!-- walk: run -->\n```\nx', 'no end'],
  ])('%s is refused', (_, page, why) => {
    expect(() => walkOf(page)).toThrow(why);
  });
});

test.each([
  ['a\nb', 'a\nb  ', true],
  ['a\nb', 'a\nb\nc', false],
  ['took … ms', 'took 12 ms', true],
  ['took … ms', 'took 12 s', false],
  ['a\n…\nz', 'a\nb\nc\nz', true],
  ['[1.0]', '[100]', false],
])('what is shown as %j matches %j: %s', (shown, printed, same) => {
  expect(matches(shown, printed)).toBe(same);
});

describe('a walk', () => {
  test('writes files where the reader is, keeps what the shell knows, and tells what was printed', async () => {
    const outputs = await take(
      fenced('run', 'cd "$WALK"', 'export WORD=hello', "alias say='echo said'"),
      fenced('file in/greeting', 'a line'),
      fenced('run', 'say $WORD', 'cat in/greeting'),
      fenced('output', 'said hello', 'a …'),
      fenced('run', 'echo other'),
      fenced('output', 'this'),
    );
    expect(outputs.map(({ shown, printed }) => [shown, printed])).toEqual([
      ['said hello\na …', 'said hello\na …'],
      ['this', 'other'],
    ]);
  });

  test('ends at a command that fails, with its line and what it printed', async () => {
    await expect(take(fenced('run', 'echo before; false', 'echo after'))).rejects.toThrow(/page\.md:1: left with code 1[\s\S]*before/);
  });

  test('starts what runs on, waits for its word, and has stopped it when it is over', async () => {
    const server = ['echo $BASHPID > "$WALK/pid"; sleep 0.2; echo ready; exec sleep 60'];
    const outputs = await take(
      fenced('start ready', ...server),
      fenced('run', 'kill -0 $(cat "$WALK/pid") && echo runs'),
      fenced('output', 'runs'),
      '<!-- walk: stop -->',
      fenced('run until over', 'kill -0 $(cat "$WALK/pid") 2> /dev/null || echo over'),
      fenced('output', 'over'),
    );
    expect(outputs.map(({ printed }) => printed)).toEqual(['runs', 'over']);
  });

  test('ends when a server leaves before its word', async () => {
    await expect(take(fenced('start ready', 'echo broken; exit 3'))).rejects.toThrow(/did not print ready[\s\S]*broken/);
  });
});
