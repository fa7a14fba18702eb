import { ServeError } from '#mesh/errors.ts';

/** What is known of a version when labels are bound. */
export interface LabelledVersions {
  /** Requests can be sent to it. */
  readonly available: (version: number) => boolean;
  /** The configuration and the source leave room for it: it is loaded, may be loaded, or nothing is known against it yet. */
  readonly possible: (version: number) => boolean;
}

/**
 * Decides what each label of a model resolves to now. Stateless.
 *
 * The rule, friendlier than TF Serving's and with its texts where it refuses: a label binds to an available version at once. A label whose
 * version is not available keeps its old binding (or stays unbound) and binds as soon as the version is available. With
 * `--allow_version_labels_for_unavailable_models` a label that is new, or names its version already, binds at once, as in TF Serving. A label
 * that is no longer in the configuration is gone.
 */
export function bindLabels(
  wanted: Readonly<Record<string, number>>,
  bound: Readonly<Record<string, number>>,
  versions: Pick<LabelledVersions, 'available'>,
  allowUnavailable: boolean,
): Readonly<Record<string, number>> {
  // Not a record that is filled: a label may be named __proto__.
  const result = new Map<string, number>();
  for (const [label, version] of Object.entries(wanted)) {
    const before = Object.hasOwn(bound, label) ? bound[label] : undefined;
    if (versions.available(version) || (allowUnavailable && (before === undefined || before === version))) result.set(label, version);
    else if (before !== undefined) result.set(label, before);
  }
  return Object.fromEntries(result);
}

/**
 * Refuses labels of a reload that cannot come true: HandleReloadConfigRequest fails with TF Serving's FAILED_PRECONDITION only for a version
 * that is neither available nor possible (no such folder, or outside the version policy). One that is on its way is pending instead of an
 * error, which is what callers of TF Serving loop for.
 */
export function checkLabels(
  model: string,
  wanted: Readonly<Record<string, number>>,
  bound: Readonly<Record<string, number>>,
  versions: LabelledVersions,
  allowUnavailable: boolean,
): void {
  for (const [label, version] of Object.entries(wanted)) {
    if (versions.available(version) || versions.possible(version)) continue;
    const before = Object.hasOwn(bound, label) ? bound[label] : undefined;
    if (allowUnavailable && (before === undefined || before === version)) continue;
    throw new ServeError(
      'FAILED_PRECONDITION',
      `Request to assign label to version ${version} of model ${model}, which is not currently available for inference`,
    );
  }
}
