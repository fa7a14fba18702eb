import { resolve } from 'node:path';
import { type Declaration, SettingError } from './config.ts';

/** The setting that names modules of custom servables: for workers, which load them, and registries, which accept models of theirs. */
export const SERVABLE_MODULE_SETTINGS = {
  servableModules: {
    name: 'servable_modules',
    type: 'string',
    default: '',
    help: 'Modules of custom servables as NAME=FILE, separated by commas. NAME is then a model_platform, and versions of such models are loaded by the module (.ts, .mts, .js or .mjs, not under node_modules), which runs in processes of its own. Workers read the files; registries need the names only.',
    group: 'Headrace',
    treatment: 'honoured',
  },
} as const satisfies Declaration;

/** A module of servables: its name is a `model_platform`. */
export interface ServableModule {
  readonly name: string;
  /** Absolute. */
  readonly file: string;
}

/** Names of modules that come with Headrace; a module of a user's own may stand in for one of them. */
export const SHIPPED_SERVABLES: readonly string[] = ['hashmap'];

/** Names that are kinds of their own. */
const TAKEN: readonly string[] = ['onnx', 'tensorflow', 'other'];

/** The modules that a setting names. Throws SettingError for what is not NAME=FILE, a file of another kind, or a name that is taken. */
export function parseServableModules(setting: string): readonly ServableModule[] {
  const modules = new Map<string, ServableModule>();
  for (const item of setting.split(',').map((text) => text.trim())) {
    if (item === '') continue;
    const [, name, file] = /^([A-Za-z][\w.-]*)=(.+)$/.exec(item) ?? [];
    if (name === undefined || file === undefined) throw new SettingError(`--servable_modules: "${item}" is not NAME=FILE`);
    if (!/\.m?[jt]s$/.test(file)) throw new SettingError(`--servable_modules: ${file} is no .ts, .mts, .js or .mjs file`);
    if (TAKEN.includes(name) || modules.has(name)) throw new SettingError(`--servable_modules: the name ${name} is taken`);
    modules.set(name, { name, file: resolve(file) });
  }
  return [...modules.values()];
}

/** The platforms that a model may name because a module serves them. Throws SettingError. */
export function servablePlatformNames(setting: string): ReadonlySet<string> {
  return new Set([...SHIPPED_SERVABLES, ...parseServableModules(setting).map(({ name }) => name)]);
}
