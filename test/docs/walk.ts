/**
 * Pages of docs that are walks: a reader types what they show and sees what they show. Comments that do not show when a page is rendered say
 * what each block of code is:
 *
 *     <!-- walk: file PATH -->      the block is written to PATH, relative to where the reader is
 *     <!-- walk: run -->            the block is typed into a terminal; a command that fails ends the walk
 *     <!-- walk: run until TEXT --> the same, again and again until TEXT is in what it prints (for a while)
 *     <!-- walk: output -->         what the command before printed on its standard output: line by line, where `…` stands for any text
 *     <!-- walk: start TEXT -->     the block is typed into a terminal of its own, where it runs on; the walk goes on when it has printed TEXT
 *     <!-- walk: stop -->           Ctrl-C in the terminal that was opened last (no block follows)
 *
 * One shell types everything, so `cd`, `export` and `alias` hold for what follows. It begins in the root of the repository. `$WALK` is an empty
 * folder of the walk, and `mktemp` makes its files there. The ports 8500 and 8501 are replaced by free ones, and servers keep their imports to themselves.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { freePort } from '../servers/server-process.ts';

const ROOT = join(import.meta.dirname, '../..');
/** A machine that runs all tests at once is slow. */
const WAIT_MS = 90_000;

/** What a reader does next. `line` is that of the comment, counted from 1. */
export type WalkStep = { readonly line: number } & (
  | { readonly type: 'file'; readonly path: string; readonly text: string }
  | { readonly type: 'run'; readonly command: string; readonly until: string | null; readonly output: string | null }
  | { readonly type: 'start'; readonly command: string; readonly until: string }
  | { readonly type: 'stop' }
);

/** What the page shows below a command, and what the command printed: equal when the page is right. */
export interface WalkOutput {
  readonly line: number;
  readonly command: string;
  readonly shown: string;
  /** The page's own text when what was printed matches it. */
  readonly printed: string;
}

/** The steps of a page, in order. Throws for a comment that says nothing known, or has no block. */
export function walkOf(markdown: string): readonly WalkStep[] {
  const lines = markdown.split('\n');
  const steps: WalkStep[] = [];
  for (let index = 0; index < lines.length; index++) {
    const said = /^\s*<!-- walk: (.+?) -->\s*$/.exec(lines[index] ?? '')?.[1];
    if (said === undefined) continue;
    const line = index + 1;
    const [verb = ''] = said.split(' ');
    const rest = said.slice(verb.length).trim();
    if (verb === 'stop' && rest === '') {
      steps.push({ type: 'stop', line });
      continue;
    }
    const block = blockAfter(lines, index);
    const before = steps.at(-1);
    if (verb === 'file' && rest !== '') steps.push({ type: 'file', line, path: rest, text: `${block}\n` });
    else if (verb === 'run' && (rest === '' || rest.startsWith('until '))) {
      steps.push({ type: 'run', line, command: block, until: rest === '' ? null : rest.slice('until '.length), output: null });
    } else if (verb === 'start' && rest !== '') steps.push({ type: 'start', line, command: block, until: rest });
    else if (verb === 'output' && rest === '' && before?.type === 'run' && before.output === null)
      steps[steps.length - 1] = { ...before, output: block };
    else throw new Error(`line ${line}: <!-- walk: ${said} --> is not a step here`);
  }
  return steps;
}

/** The code of the fenced block that follows a line, without its indentation, without anything but blank lines between. */
function blockAfter(lines: readonly string[], index: number): string {
  let at = index + 1;
  while (lines[at]?.trim() === '') at++;
  const open = /^(\s*)(`{3,})\w*\s*$/.exec(lines[at] ?? '');
  if (open === null) throw new Error(`line ${index + 1}: no block of code follows`);
  const [, indent = '', fence = ''] = open;
  const end = lines.findIndex((text, place) => place > at && text.trim() === fence);
  if (end < 0) throw new Error(`line ${at + 1}: the block of code has no end`);
  return lines
    .slice(at + 1, end)
    .map((text) => (text.startsWith(indent) ? text.slice(indent.length) : text))
    .join('\n');
}

/**
 * Takes the walk of a page, named relative to the root of the repository. Rejects with the line of the page when a command fails or a server
 * does not come up; the error has what was printed. All that was started has ended when it settles.
 */
export async function takeWalk(page: string): Promise<readonly WalkOutput[]> {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-walk-'));
  const [grpcPort, restPort] = [await freePort(), await freePort()];
  const ownPorts = (text: string) => text.replaceAll('8501', `${restPort}`).replaceAll('8500', `${grpcPort}`);
  mkdirSync(join(folder, 'home'));
  const shell = openShell({
    ...process.env,
    WALK: join(folder, 'home'),
    TMPDIR: join(folder, 'home'),
    HEADRACE_PORT: `${grpcPort}`,
    HEADRACE_REST_API_PORT: `${restPort}`,
    HEADRACE_IMPORT_CACHE_DIR: join(folder, 'imports'),
  });
  const servers: Server[] = [];
  const outputs: WalkOutput[] = [];
  try {
    for (const step of walkOf(readFileSync(resolve(ROOT, page), 'utf8'))) {
      const place = `${page}:${step.line}`;
      switch (step.type) {
        case 'file': {
          const path = resolve((await shell.type('pwd')).stdout.trim(), step.path);
          mkdirSync(dirname(path), { recursive: true });
          writeFileSync(path, ownPorts(step.text));
          break;
        }
        case 'run': {
          const { stdout } = await ranUntil(shell, ownPorts(step.command), step.until, place);
          if (step.output === null) break;
          const shown = step.output.trimEnd();
          const printed = stdout.trimEnd();
          const same = matches(ownPorts(shown), printed);
          outputs.push({ line: step.line, command: step.command, shown, printed: same ? shown : printed });
          break;
        }
        case 'start':
          servers.push(await startServer(shell, ownPorts(step.command), join(folder, `server-${servers.length}.log`)));
          await servers.at(-1)?.untilPrinted(step.until, place);
          break;
        case 'stop':
          await servers.pop()?.stop();
          break;
      }
    }
  } finally {
    for (const server of servers.reverse()) await server.stop();
    await shell.close();
    rmSync(folder, { recursive: true, force: true });
  }
  return outputs;
}

/** True when `printed` has the lines of `shown`, where `…` stands for any text, of any number of lines where it is alone on its line. */
export function matches(shown: string, printed: string): boolean {
  const pattern = shown
    .split('\n')
    .map((line) => (line.trim() === '…' ? '[\\s\\S]*' : line.trimEnd().split('…').map(escaped).join('.*')))
    .join('\n');
  const lines = printed.split('\n').map((line) => line.trimEnd());
  return new RegExp(`^${pattern}$`).test(lines.join('\n'));
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

/** A bash that runs one command after another. */
interface Shell {
  type(command: string): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>;
  close(): Promise<void>;
}

function openShell(env: NodeJS.ProcessEnv): Shell {
  const bash = spawn('bash', ['--noprofile', '--norc'], { cwd: ROOT, env, stdio: ['pipe', 'pipe', 'ignore'] });
  const folder = mkdtempSync(join(tmpdir(), 'headrace-shell-'));
  // Background jobs get a group each, so that a server can be stopped with all that it started.
  bash.stdin.write("shopt -s expand_aliases; set -m; trap 'failed=$?' ERR\n");
  let answer = '';
  let onAnswer = () => {};
  bash.stdout.on('data', (chunk: Buffer) => {
    answer += chunk.toString();
    onAnswer();
  });
  bash.on('exit', () => onAnswer());
  return {
    async type(command) {
      const [out, err] = [join(folder, 'out'), join(folder, 'err')];
      answer = '';
      const done = new Promise<number>((resolve, reject) => {
        onAnswer = () => {
          const code = /^code (\d+)\n/m.exec(answer)?.[1];
          if (code !== undefined) resolve(Number(code));
          else if (bash.exitCode !== null) reject(new Error(`the shell left at: ${command}`));
        };
      });
      bash.stdin.write(`failed=0\n{\n${command}\n} > '${out}' 2> '${err}' < /dev/null\necho "code $failed"\n`);
      const code = await done;
      return { code, stdout: readFileSync(out, 'utf8'), stderr: readFileSync(err, 'utf8') };
    },
    async close() {
      await ended(bash, () => bash.stdin.end('exit\n'));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function ranUntil(shell: Shell, command: string, until: string | null, place: string): Promise<{ readonly stdout: string }> {
  const deadline = performance.now() + WAIT_MS;
  for (;;) {
    const ran = await shell.type(command);
    if (ran.code === 0 && (until === null || ran.stdout.includes(until))) return ran;
    if (until === null || performance.now() > deadline) {
      const why = until === null ? `left with code ${ran.code}` : `did not print ${until}`;
      throw new Error(`${place}: ${why}: ${command}\n${ran.stdout}\n${ran.stderr}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** What runs on in a terminal of its own. */
interface Server {
  untilPrinted(text: string, place: string): Promise<void>;
  stop(): Promise<void>;
}

async function startServer(shell: Shell, command: string, log: string): Promise<Server> {
  // The log of a server that was stopped would say that this one is up.
  rmSync(log, { force: true });
  const started = await shell.type(`(\n${command}\n) > '${log}' 2>&1 &\necho $!`);
  const pid = Number(started.stdout);
  const printed = () => (existsSync(log) ? readFileSync(log, 'utf8') : '');
  const runs = () => {
    try {
      return process.kill(-pid, 0);
    } catch {
      return false;
    }
  };
  return {
    async untilPrinted(text, place) {
      const deadline = performance.now() + WAIT_MS;
      while (!printed().includes(text)) {
        if (!runs() || performance.now() > deadline) throw new Error(`${place}: did not print ${text}: ${command}\n${printed()}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    async stop() {
      // Asked once: a second Ctrl-C would not wait for what is running.
      for (const signal of ['SIGINT', 'SIGKILL'] as const) {
        if (!runs()) return;
        process.kill(-pid, signal);
        const deadline = performance.now() + WAIT_MS;
        while (runs() && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
  };
}

async function ended(child: ChildProcess, end: () => void): Promise<void> {
  if (child.exitCode !== null) return;
  const exited = once(child, 'exit');
  end();
  await exited;
}
