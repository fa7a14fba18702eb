import { ServeError } from '#mesh/errors.ts';
import {
  type ModelConfig,
  type ModelServerConfig,
  parseModelServerConfigText,
  printModelServerConfigText,
} from '#proto/model-server-config.ts';
import { type KnownModules, sourceOfBasePath } from './user-modules.ts';

/** Platforms that a configuration may name. A folder of another kind than its model's platform still serves: the folder decides. */
const PLATFORMS: readonly string[] = ['', 'tensorflow', 'onnx'];

/** The text of a model list, as `parseModelList` reads it. */
export function printModelList(models: readonly ModelConfig[]): string {
  return printModelServerConfigText({ type: 'list', models });
}

/** Reads a model list from a ModelServerConfig in text form. Throws INVALID_ARGUMENT for a broken text or another kind of configuration. */
export function parseModelList(text: string): readonly ModelConfig[] {
  const config = parseModelServerConfigText(text);
  if (config.type === 'list') return config.models;
  throw new ServeError(
    'INVALID_ARGUMENT',
    'ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported',
  );
}

/**
 * Reads the model list of a configuration file, where TF Serving's words are others: null for a file without a configuration (which leaves
 * the running one alone). Throws FAILED_PRECONDITION for a configuration of another kind.
 */
export function parseConfigFile(text: string): readonly ModelConfig[] | null {
  const config: ModelServerConfig = parseModelServerConfigText(text);
  if (config.type === 'list') return config.models;
  if (config.type === 'unset') return null;
  throw new ServeError(
    'FAILED_PRECONDITION',
    'Cannot transition to requested config. It is only legal to transition from one ModelConfigList to another.',
  );
}

/** The platform a model's configuration names; empty when it names none. */
export function platformOf(model: ModelConfig): string {
  if (model.modelType === 'TENSORFLOW') return 'tensorflow';
  return model.modelType === 'OTHER' ? 'other' : model.modelPlatform;
}

/**
 * Checks a model list against the running one before anything of it is applied. Throws INVALID_ARGUMENT in TF Serving's words. A model
 * without a platform is fine here (TF Serving insists on one): the platform is found out from the folder. `known`: modules that a
 * configuration may name.
 */
export function checkModelList(wanted: readonly ModelConfig[], running: readonly ModelConfig[], known: KnownModules): void {
  const seen = new Set<string>();
  for (const model of wanted) {
    const { name, basePath, modelPlatform, modelType } = model;
    if (name === '') throw invalid('Expected every model of the config list to have a name');
    if (seen.has(name)) throw invalid(`Illegal to list model ${name} multiple times in config list`);
    seen.add(name);
    if (!basePath.startsWith('/')) checkSource(name, basePath, known.sources);
    if (modelType !== 'MODEL_TYPE_UNSPECIFIED' && modelPlatform !== '') {
      throw invalid(
        `Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform, model name is ${name}`,
      );
    }
    const platform = platformOf(model);
    if (!PLATFORMS.includes(platform) && !known.platforms.has(platform))
      throw invalid(`Model ${name} requests unsupported platform ${platform}`);
    const before = running.find((entry) => entry.name === name);
    const old = before === undefined ? '' : platformOf(before);
    if (old !== '' && platform !== '' && old !== platform) {
      throw invalid(
        `Illegal to change a model's platform. For model ${name} platform was ${old} and new platform requested is ${platform}`,
      );
    }
  }
}

/** TF Serving's words; ours where the base path looks like that of a source module. */
function checkSource(name: string, basePath: string, sources: ReadonlySet<string>): void {
  const source = sourceOfBasePath(basePath);
  if (source !== undefined && sources.has(source.module)) return;
  const hint = source === undefined ? '' : ` (--source_modules has no module named ${source.module})`;
  throw invalid(`Expected model ${name} to have an absolute path or URI; got base_path()=${basePath}${hint}`);
}

function invalid(message: string): ServeError {
  return new ServeError('INVALID_ARGUMENT', message);
}
