/** `tensorflow.serving.PlatformConfigMap` (`--platform_config_file`): which platforms there are, and the settings of each. */
import { ANY, message, messageMap, submessage } from './schema.ts';
import { parseText } from './text-format.ts';

const PLATFORM_CONFIG_MAP = message('tensorflow.serving.PlatformConfigMap', {
  platform_configs: messageMap(1, message('tensorflow.serving.PlatformConfig', { source_adapter_config: submessage(1, ANY) })),
});

/** For each platform the type of its settings, such as `type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig`; '' when it has none. */
export type PlatformConfigs = ReadonlyMap<string, string>;

/**
 * Parses a file's text. The settings themselves belong to TensorFlow's runtimes and are passed over, but must be well formed. Throws
 * INVALID_ARGUMENT naming line, column and field.
 */
export function parsePlatformConfigText(text: string): PlatformConfigs {
  const { platform_configs: configs } = parseText(PLATFORM_CONFIG_MAP, text);
  return new Map([...configs].map(([platform, config]) => [platform, config.source_adapter_config?.type_url ?? '']));
}
