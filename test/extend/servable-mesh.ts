/** An embedded mesh with models of servable modules, and clients for it. */
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createTelemetry, type Telemetry } from '#mesh/telemetry.ts';
import { type RunningMesh, startRunningMesh } from '../embedded/running-mesh.ts';

/** The root of the repository. */
export const ROOT = join(import.meta.dirname, '../..');
/** Where the examples are. */
export const EXAMPLES = join(ROOT, 'examples/custom-servables');
/** Where the modules for tests are. */
export const FIXTURES = join(import.meta.dirname, 'fixtures');

/** Puts a version folder in place in one step, as a careful operator does. */
export function putVersion(base: string, version: number, files: Readonly<Record<string, string | Uint8Array>>): void {
  const staging = join(base, `.staging-${version}`);
  for (const [name, content] of Object.entries({ '.version': `${version}`, ...files })) {
    mkdirSync(dirname(join(staging, name)), { recursive: true });
    writeFileSync(join(staging, name), content);
  }
  rmSync(join(base, String(version)), { recursive: true, force: true });
  renameSync(staging, join(base, String(version)));
}

/** A model of the configuration: its platform, and more fields in proto text. */
export interface MeshModel {
  readonly platform: string;
  readonly base?: string;
  readonly more?: string;
}

/** The ModelServerConfig of models whose versions are in folders of their names. */
export function configOf(folder: string, models: Readonly<Record<string, MeshModel>>): string {
  const configs = Object.entries(models).map(
    ([name, { platform, base, more = '' }]) =>
      `config { name: "${name}" base_path: "${base ?? join(folder, name)}" model_platform: "${platform}" ${more} }`,
  );
  return `model_config_list { ${configs.join('\n')} }`;
}

/** A mesh and what its services wrote. */
export interface ServableMesh extends AsyncDisposable {
  readonly mesh: RunningMesh;
  readonly folder: string;
  /** Log lines, parsed. */
  readonly lines: readonly Readonly<Record<string, unknown>>[];
  readonly telemetry: Telemetry;
  /** POSTs JSON to a model; the answer's JSON with its status. */
  ask(path: string, body: unknown): Promise<{ readonly status: number; readonly json: Readonly<Record<string, unknown>> }>;
  /** Resolves when `check` holds. */
  until(check: () => boolean | Promise<boolean>): Promise<void>;
}

/** Starts it. `modules`: NAME=FILE pairs. */
export async function startServableMesh(options: {
  readonly modules: (folder: string) => readonly string[];
  readonly models: Readonly<Record<string, MeshModel>>;
  readonly prepare: (folder: string) => void;
  readonly flags?: readonly string[];
}): Promise<ServableMesh> {
  const lines: Readonly<Record<string, unknown>>[] = [];
  const logTo = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) };
  const telemetry = createTelemetry({ service: 'test', logLevel: 'info', otlpEndpoint: '', logTo });
  const mesh = await startRunningMesh({
    telemetry,
    prepare: options.prepare,
    config: (folder) => configOf(folder, options.models),
    flags: (folder) => [`--servable_modules=${options.modules(folder).join(',')}`, '--enable_batching', ...(options.flags ?? [])],
  });
  return {
    mesh,
    folder: mesh.folder,
    lines,
    telemetry,
    async ask(path, body) {
      const { status, text } = await mesh.send('POST', `/v1/models/${path}`, JSON.stringify(body));
      return { status, json: JSON.parse(text) as Record<string, unknown> };
    },
    async until(check) {
      while (!(await check())) await new Promise((resolve) => setTimeout(resolve, 20));
    },
    [Symbol.asyncDispose]: () => mesh[Symbol.asyncDispose](),
  };
}
