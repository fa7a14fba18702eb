/** What every `main.ts` does: read the settings, start, wait for a signal, drain, leave. */
import { readFileSync } from 'node:fs';
import { type Declaration, helpText, type ParsedSettings, parseSettings, SettingError } from './config.ts';
import { tuneEngine } from './engine.ts';
import { toServeError } from './errors.ts';
import type { PROCESS_SETTINGS } from './process-settings.ts';
import { createTelemetry, type Telemetry } from './telemetry.ts';

/** The part of Node's `process` that a service process touches. Only a `main.ts` hands in the real one. */
export interface HostProcess {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
  on(event: 'SIGINT' | 'SIGTERM', listener: () => void): unknown;
  on(event: 'uncaughtException' | 'unhandledRejection', listener: (caught: unknown) => void): unknown;
  exit(code: number): never;
}

/** What makes one service process different from another. */
export interface ProcessOptions<D extends Declaration> {
  /** Shown in `--help`, logs and traces: `gateway`. */
  readonly service: string;
  readonly declaration: D & typeof PROCESS_SETTINGS;
  /** Starts the service. Disposing what it returns drains it. */
  readonly start: (context: {
    readonly settings: ParsedSettings<D & typeof PROCESS_SETTINGS>;
    readonly telemetry: Telemetry;
  }) => Promise<AsyncDisposable>;
}

/** The version in package.json, printed by `--version`. */
export const HEADRACE_VERSION = '0.1.0';
/** A second Ctrl-C within this time is the same one (a terminal signals parent and child); later it means: now. */
const REPEATED_SIGNAL_MS = 1000;
/** Past this a drain has hung: better to leave than to be killed without a word. */
const DRAIN_BOUND_MS = 60_000;

/** Runs one service process until it is told to stop. Exits 0 after a drain, 255 when it cannot start (as TF Serving does). */
export async function runProcess<D extends Declaration>(host: HostProcess, options: ProcessOptions<D>): Promise<void> {
  tuneEngine();
  const usage = `${options.service} [flags]`;
  let settings: ParsedSettings<D & typeof PROCESS_SETTINGS>;
  try {
    const args = host.argv.slice(2);
    const first = parseSettings(options.declaration, { args, env: host.env });
    const file = String(first.values.settingsFile);
    settings = file === '' ? first : parseSettings(options.declaration, { args, env: host.env, fileText: readFileSync(file, 'utf8') });
  } catch (caught) {
    if (!(caught instanceof SettingError) && !(caught instanceof Error && 'code' in caught)) throw caught;
    host.stderr.write(`${caught.message}\nRun with --help for all flags.\n`);
    host.exit(255);
  }
  if (settings.values.help) {
    host.stdout.write(helpText(options.declaration, usage));
    host.exit(0);
  }
  if (settings.values.version) {
    host.stdout.write(`Headrace ModelServer: ${HEADRACE_VERSION}\n`);
    host.exit(0);
  }
  for (const argument of settings.unknown) host.stderr.write(`unknown argument: ${argument} (see --help)\n`);

  const telemetry = createTelemetry({
    service: options.service,
    logLevel: String(settings.values.logLevel),
    otlpEndpoint: String(settings.values.otlpEndpoint),
  });
  for (const warning of settings.warnings) telemetry.log.warn({ warning }, 'setting has no effect');

  const die = (what: string) => (caught: unknown) => {
    telemetry.log.fatal({ err: caught }, what);
    host.exit(1);
  };
  host.on('uncaughtException', die('uncaught exception: this is a bug'));
  host.on('unhandledRejection', die('unhandled rejection: this is a bug'));

  // The clock's timers keep no process alive; a service does, until it is told to stop.
  setInterval(() => {}, 2 ** 30);
  const starting = options.start({ settings, telemetry });
  let stoppedAtMs = 0;
  const stop = (signal: string) => () => {
    if (stoppedAtMs !== 0) {
      if (performance.now() - stoppedAtMs > REPEATED_SIGNAL_MS) host.exit(130);
      return;
    }
    stoppedAtMs = performance.now();
    telemetry.log.info({ signal }, 'draining');
    setTimeout(() => host.exit(1), DRAIN_BOUND_MS).unref();
    starting
      .then((service) => service[Symbol.asyncDispose]())
      .then(() => telemetry[Symbol.asyncDispose]())
      .then(
        () => {
          telemetry.log.info('stopped');
          host.exit(0);
        },
        (caught) => {
          telemetry.log.error({ err: caught }, 'did not stop cleanly');
          host.exit(1);
        },
      );
  };
  host.on('SIGINT', stop('SIGINT'));
  host.on('SIGTERM', stop('SIGTERM'));

  try {
    await starting;
  } catch (caught) {
    const error = toServeError(caught);
    telemetry.log.fatal({ err: caught }, 'failed to start');
    host.stderr.write(`Failed to start server. Error: ${error.code}: ${error.message}\n`);
    host.exit(255);
  }
}
