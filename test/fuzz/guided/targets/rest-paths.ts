/** Targets of REST requests, and labels on their way from a configuration through a path. */
import { parseTarget } from '../../../../services/gateway/rest/target.ts';
import { bindLabels, checkLabels } from '../../../../services/registry/labels.ts';
import { agree, type FuzzTarget, orRefused } from '../target.ts';

const METHODS = ['POST', 'GET', 'PUT', ''];

/** The first byte chooses the method; the rest is the target. Names come out as a URL's own parser reads them. */
function target(bytes: Uint8Array): void {
  const method = METHODS[(bytes[0] ?? 0) % METHODS.length] ?? '';
  const url = Buffer.from(bytes.subarray(1)).toString('latin1');
  const found = parseTarget(method, url);
  if (found.type === 'malformed' || !('version' in found)) return;
  const [, path = ''] = /^\/v1\/models\/?([\s\S]*)$/i.exec(url) ?? [];
  const name = /^[^/:]*/.exec(path)?.[0] ?? '';
  let expected: string;
  try {
    expected = decodeURIComponent(name);
  } catch {
    return; // Ours leaves broken escapes as they are.
  }
  if (/^[\x20-\x7e]*$/.test(name)) agree('the name', found.model, expected);
  if (found.version.type === 'specific') agree('the number', BigInt(found.version.text) <= 2n ** 63n - 1n, true);
}

/** Half of the bytes is a label, half a model's name: what a client escapes comes back, and is bound under that name only. */
function labels(bytes: Uint8Array): void {
  const whole = Buffer.from(bytes).toString('utf8');
  const [label = '', name = ''] = [whole.slice(0, whole.length >> 1), whole.slice(whole.length >> 1)];
  if (label === '' || name === '' || /[\ud800-\udfff]/.test(label.replace(/[\ud800-\udbff][\udc00-\udfff]/g, '')) || !name.isWellFormed())
    return;
  const found = parseTarget('POST', `/v1/models/${encodeURIComponent(name)}/labels/${encodeURIComponent(label)}:predict`);
  agree('the target', found, { type: 'inference', model: name, version: { type: 'label', label }, method: 'predict' });
  const wanted = Object.fromEntries([[label, 3]]);
  const bound = bindLabels(wanted, {}, { available: () => true }, false);
  agree('what is bound', Object.entries(bound), Object.entries(wanted));
  const none = { available: () => false, possible: () => false };
  if (Object.keys(bindLabels(wanted, {}, none, false)).length > 0) throw new Error('a label without a version is bound');
  orRefused(() => checkLabels(name, wanted, {}, none, true));
}

const text = (...texts: readonly string[]) => texts.map((one) => Buffer.from(one));

/** Targets of this file. */
export const TARGETS: readonly FuzzTarget[] = [
  {
    name: 'target',
    format: 'text',
    covers: ['services/gateway/rest/target.ts'],
    words: [
      '/versions/',
      '/labels/',
      ':predict',
      ':classify',
      '/metadata',
      '%2F',
      '%',
      '%zz',
      '%00',
      '%ff',
      '9223372036854775808',
      '/V1/MODELS/',
      '//',
      '?a',
      '#',
    ],
    seeds: () =>
      text(
        '\0/v1/models/m:predict',
        '\0/v1/models/m/versions/12:classify',
        '\0/v1/models/m/labels/stable:regress',
        '\x01/v1/models/m',
        '\x01/v1/models/a%20b/versions/9223372036854775807/metadata',
        '\x01/v1/models',
      ),
    check: target,
  },
  {
    name: 'labels',
    format: 'text',
    covers: ['services/gateway/rest/target.ts', 'services/registry/labels.ts'],
    words: ['__proto__', 'constructor', '%2F', '/', ':', '\u{1f600}', '\u0000', ' ', 'ü', '.', '..'],
    seeds: () => text('stablemodels', '__proto__!'.repeat(2), 'a/b:c%d e'),
    check: labels,
  },
];
