import { type Declaration, SettingError, type SettingsOf } from './config.ts';
import type { USER_CODE_SETTINGS } from './user-code-settings.ts';

/** Where custom ops may come from: settings of whoever imports models, and of workers, which run them. */
export const OP_LIBRARY_SETTINGS = {
  opLibrary: {
    name: 'op_library',
    type: 'string',
    default: '',
    help: 'Modules of custom ops, separated by commas: files (.ts, .mts, .js, .mjs), or folders of which every such file is one. Registries and workers need the same. A change counts for versions that are loaded after it. See docs/custom-op.md.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  allowModelCode: {
    name: 'allow_model_code',
    type: 'bool',
    default: false,
    help: 'Version folders may bring code: modules of custom ops in ops/ and assets.extra/ops/. Whoever can write a model folder can then run code on workers, apart from everything else with a time and memory limit.',
    group: 'Headrace',
    treatment: 'honoured',
  },
} as const satisfies Declaration;

/** Where custom ops come from, and what bounds their code where models are imported. */
export interface OpSourceSettings {
  /** Files and folders of modules. */
  readonly libraries: readonly string[];
  readonly allowModelCode: boolean;
  readonly bounds: { readonly callMs: number; readonly memoryBytes: number };
}

/** What the settings say of custom ops. Throws SettingError for an empty place between the commas of `--op_library`. */
export function opSourcesOf(settings: SettingsOf<typeof OP_LIBRARY_SETTINGS & typeof USER_CODE_SETTINGS>): OpSourceSettings {
  const { opLibrary, allowModelCode, userCodeCallLimitMs: callMs, userCodeMemoryLimitBytes: memoryBytes } = settings;
  const libraries = opLibrary === '' ? [] : opLibrary.split(',').map((path) => path.trim());
  if (libraries.includes('')) throw new SettingError(`--op_library: "${opLibrary}" has an empty place between commas`);
  return { libraries, allowModelCode, bounds: { callMs, memoryBytes } };
}
