import type { RoutedModel, RoutedVersion, StatusReport } from '#mesh/control.ts';

/**
 * Puts what is wrong with a model's source or policy where people look for it: into the status of its newest version without trouble of its own,
 * of those that are not at their end if there are any. A model without any version has its complaint in the place of version 0.
 */
export function withComplaint(model: RoutedModel, complaint: StatusReport | null): RoutedModel {
  if (complaint === null) return model;
  if (model.versions.length === 0) return { ...model, versions: [nothingBut(complaint)] };
  const well = model.versions.filter(({ status }) => status.code === 'OK');
  const bearer = well.find(({ state }) => state !== 'END') ?? well[0];
  return { ...model, versions: model.versions.map((one) => (one === bearer ? { ...one, status: complaint } : one)) };
}

function nothingBut(status: StatusReport): RoutedVersion {
  return { version: 0, state: 'END', status, signatures: null, routable: false, batching: null, stateful: false };
}
