import { existsSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ServeError } from '#mesh/errors.ts';
import { servablePlatformNames } from '#mesh/servable-module-settings.ts';
import type { RegistrySettings } from './config.ts';

/** A file of user code. */
export interface UserModule {
  /** For logs, metrics and messages. */
  readonly name: string;
  readonly file: string;
  readonly url: string;
}

/** The modules of --source_modules by name. Throws INVALID_ARGUMENT for a value of another form, NOT_FOUND for a file that is not there. */
export function sourceModules(settings: Pick<RegistrySettings, 'sourceModules'>): ReadonlyMap<string, UserModule> {
  return new Map([...sourceFiles(settings)].map(([name, file]) => [name, userModule('--source_modules', name, file)]));
}

/** The files of --source_modules by name, whether they are there or not. Throws INVALID_ARGUMENT for a value of another form. */
export function sourceFiles({ sourceModules: setting }: Pick<RegistrySettings, 'sourceModules'>): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const part of setting.split(',').map((one) => one.trim())) {
    if (part === '') continue;
    const [, name, file] = /^([A-Za-z][\w.-]*)=(.+)$/.exec(part) ?? [];
    if (name === undefined || file === undefined) {
      throw new ServeError('INVALID_ARGUMENT', `--source_modules: expected NAME=FILE, found "${part}"`);
    }
    if (files.has(name)) throw new ServeError('INVALID_ARGUMENT', `--source_modules names ${name} twice`);
    files.set(name, file);
  }
  return files;
}

/** What a model's configuration may name. */
export interface KnownModules {
  /** What base paths may begin with. */
  readonly sources: ReadonlySet<string>;
  /** Platforms that modules of servables serve. */
  readonly platforms: ReadonlySet<string>;
}

/** The names of modules that the settings have. Throws INVALID_ARGUMENT or SettingError for a value of another form. */
export function knownModules(settings: Pick<RegistrySettings, 'sourceModules' | 'servableModules'>): KnownModules {
  return { sources: new Set(sourceFiles(settings).keys()), platforms: servablePlatformNames(settings.servableModules) };
}

/** The module of --transition_policy_module; null when there is none. Throws NOT_FOUND for a file that is not there. */
export function policyModule({ transitionPolicyModule: file }: Pick<RegistrySettings, 'transitionPolicyModule'>): UserModule | null {
  return file === '' ? null : userModule('--transition_policy_module', file, file);
}

/** The name of the module in a base path `NAME:location`, and the location; undefined for a path of the file system. */
export function sourceOfBasePath(basePath: string): { readonly module: string; readonly location: string } | undefined {
  const colon = basePath.indexOf(':');
  return isAbsolute(basePath) || colon < 1 ? undefined : { module: basePath.slice(0, colon), location: basePath.slice(colon + 1) };
}

function userModule(flag: string, name: string, given: string): UserModule {
  const file = resolve(given);
  if (!existsSync(file)) throw new ServeError('NOT_FOUND', `${flag}: there is no file ${file}`);
  return { name, file, url: pathToFileURL(file).href };
}
