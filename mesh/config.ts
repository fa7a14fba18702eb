/**
 * Settings, declared once. A declaration gives a setting its flag, its environment variable, its key in a settings file, its line in `--help`
 * and its row in `docs/config.md`. Flag beats environment beats file beats default.
 */
export interface Setting<Value> {
  /** The flag without dashes, in TensorFlow Serving's style: `rest_api_port`. The variable is `HEADRACE_REST_API_PORT`. */
  readonly name: string;
  readonly type: 'string' | 'int' | 'float' | 'bool';
  readonly default: Value;
  /** One sentence or two: effect, unit, bound. */
  readonly help: string;
  /** What `--help` groups it under. */
  readonly group: 'TensorFlow Serving' | 'Headrace';
  /** How TF Serving's flag of this name is treated: `honoured` (also for our own), `mapped` to an equivalent, or `ignored` with one warning. */
  readonly treatment: 'honoured' | 'mapped' | 'ignored';
  readonly min?: number;
  readonly max?: number;
  readonly oneOf?: readonly string[];
}

type Declared = string | number | boolean;
/** Settings by property name. */
export type Declaration = Readonly<Record<string, Setting<Declared>>>;
type Widen<Value> = Value extends string ? string : Value extends number ? number : Value extends boolean ? boolean : never;
/** The values of a declaration. */
export type SettingsOf<D extends Declaration> = { readonly [Key in keyof D]: Widen<D[Key]['default']> };

/** What `parseSettings` found. */
export interface ParsedSettings<D extends Declaration> {
  readonly values: SettingsOf<D>;
  /** Property names that were set by flag, environment or file. */
  readonly given: ReadonlySet<keyof D & string>;
  /** Arguments that name no setting, as given. TF Serving prints them and starts all the same. */
  readonly unknown: readonly string[];
  /** One sentence for each setting that is accepted and ignored. */
  readonly warnings: readonly string[];
}

/** A setting whose value cannot be used; the message names setting, value and range. */
export class SettingError extends Error {}

/**
 * Reads settings from arguments (`--name=value`, `--name value`, `--flag`, `--noflag`), environment and a file's text (`name = value` lines,
 * `#` comments). Throws SettingError for a value out of type or range.
 */
export function parseSettings<D extends Declaration>(
  declaration: D,
  input: { readonly args: readonly string[]; readonly env: Readonly<Record<string, string | undefined>>; readonly fileText?: string },
): ParsedSettings<D> {
  const byName = new Map(Object.entries(declaration).map(([key, setting]) => [setting.name, { key, setting }]));
  const values: Record<string, Declared> = Object.fromEntries(Object.entries(declaration).map(([key, setting]) => [key, setting.default]));
  const given = new Set<string>();
  const unknown: string[] = [];

  const assign = (name: string, text: string, from: string) => {
    const found = byName.get(name);
    if (!found) return false;
    values[found.key] = parseValue(found.setting, text, from);
    given.add(found.key);
    return true;
  };

  for (const line of (input.fileText ?? '').split('\n')) {
    const bare = line.replace(/^\s*#.*$/, '').trim();
    if (bare === '') continue;
    const [name, text] = splitOnce(bare, '=');
    if (text === undefined || !assign(name.trim(), text.trim(), 'settings file'))
      throw new SettingError(`settings file: no setting for the line "${bare}"`);
  }
  for (const { setting } of byName.values()) {
    const text = input.env[environmentName(setting.name)];
    if (text !== undefined) assign(setting.name, text, environmentName(setting.name));
  }
  for (let index = 0; index < input.args.length; index++) {
    const argument = input.args[index] ?? '';
    const [flag, inline] = splitOnce(argument, '=');
    const name = flag.replace(/^--?/, '');
    const setting = flag.startsWith('-') ? byName.get(name)?.setting : undefined;
    const negated = flag.startsWith('--no') ? byName.get(name.slice(2))?.setting : undefined;
    if (setting === undefined) {
      if (negated?.type === 'bool' && inline === undefined) assign(negated.name, 'false', argument);
      else unknown.push(argument);
      continue;
    }
    if (inline !== undefined) assign(name, inline, `--${name}`);
    else if (setting.type === 'bool') assign(name, 'true', `--${name}`);
    else {
      const next = input.args[++index];
      if (next === undefined) throw new SettingError(`--${name} needs a value`);
      assign(name, next, `--${name}`);
    }
  }
  const warnings = [...given].flatMap((key) => {
    const setting = declaration[key];
    return setting?.treatment === 'ignored' ? [`--${setting.name} is accepted and has no effect: ${setting.help}`] : [];
  });
  return { values: values as SettingsOf<D>, given, unknown, warnings };
}

/** The environment variable of a setting. */
export function environmentName(name: string): string {
  return `HEADRACE_${name.toUpperCase()}`;
}

/** The text of `--help`. */
export function helpText(declaration: Declaration, usage: string): string {
  const lines = [`usage: ${usage}`, '', 'Each flag may also be set by the variable HEADRACE_<NAME> or by a line of --settings_file.'];
  for (const group of ['TensorFlow Serving', 'Headrace'] as const) {
    lines.push('', group === 'TensorFlow Serving' ? 'Flags of tensorflow_model_server:' : 'Flags of Headrace:');
    for (const setting of Object.values(declaration).filter((one) => one.group === group)) {
      lines.push(
        `  --${setting.name}=${JSON.stringify(setting.default)}`,
        `      ${setting.treatment === 'honoured' ? '' : `[${setting.treatment}] `}${setting.help}`,
      );
    }
  }
  return `${lines.join('\n')}\n`;
}

/** The body of `docs/config.md`. */
export function configDocument(declaration: Declaration): string {
  const lines = [
    '# Configuration',
    '',
    'Generated by `npm run docs:config` from the declaration in `services/embedded/config.ts`; `npm test` compares them.',
    '',
    'A flag beats its environment variable (`HEADRACE_` and the name in capitals), which beats a line `name = value` of `--settings_file`, which beats the default.',
  ];
  for (const group of ['TensorFlow Serving', 'Headrace'] as const) {
    lines.push(
      '',
      `## ${group === 'TensorFlow Serving' ? 'Flags of tensorflow_model_server' : 'Flags of Headrace'}`,
      '',
      '| flag | default | treatment | meaning |',
      '|---|---|---|---|',
    );
    for (const setting of Object.values(declaration).filter((one) => one.group === group)) {
      const range = [
        setting.min === undefined ? '' : `from ${setting.min}`,
        setting.max === undefined ? '' : `to ${setting.max}`,
        setting.oneOf ? `one of ${setting.oneOf.join(', ')}` : '',
      ]
        .filter((part) => part !== '')
        .join(' ');
      lines.push(
        `| \`--${setting.name}\` | \`${JSON.stringify(setting.default)}\` | ${setting.treatment} | ${setting.help}${range === '' ? '' : ` (${range})`} |`,
      );
    }
  }
  return `${lines.join('\n')}\n`;
}

function parseValue(setting: Setting<Declared>, text: string, from: string): Declared {
  if (setting.type === 'bool') {
    if (/^(true|t|1|yes|y)$/i.test(text)) return true;
    if (/^(false|f|0|no|n)$/i.test(text)) return false;
    throw new SettingError(`${from}: "${text}" is not true or false`);
  }
  if (setting.type === 'string') {
    if (setting.oneOf && !setting.oneOf.includes(text))
      throw new SettingError(`${from}: "${text}" is not one of ${setting.oneOf.join(', ')}`);
    return text;
  }
  const number = text.trim() === '' ? Number.NaN : Number(text);
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = setting;
  if (Number.isNaN(number) || (setting.type === 'int' && !Number.isInteger(number)) || number < min || number > max) {
    const kind = setting.type === 'int' ? 'a whole number' : 'a number';
    throw new SettingError(
      `${from}: "${text}" is not ${kind}${min > Number.NEGATIVE_INFINITY ? ` from ${min}` : ''}${max < Number.POSITIVE_INFINITY ? ` to ${max}` : ''}`,
    );
  }
  return number;
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const index = text.indexOf(separator);
  return index < 0 ? [text, undefined] : [text.slice(0, index), text.slice(index + separator.length)];
}
