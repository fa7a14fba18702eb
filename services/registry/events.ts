import { Counter, Gauge } from 'prom-client';
import type { StatusReport } from '#mesh/control.ts';
import type { ServeError } from '#mesh/errors.ts';
import type { ServableId } from '#mesh/ids.ts';
import { createRareReport } from '#mesh/rare-report.ts';
import type { Telemetry } from '#mesh/telemetry.ts';

/** What a registry reports: one function per event, writing metric and log together. */
export interface RegistryEvents {
  leadershipTaken(facts: { readonly fencingToken: number }): void;
  leadershipLost(facts: { readonly fencingToken: number; readonly reason: string }): void;
  /** A new configuration is in force. `models`: those that are new or changed. */
  configApplied(facts: { readonly revision: number; readonly models: readonly string[]; readonly removed: readonly string[] }): void;
  configFileFailed(facts: { readonly file: string; readonly error: ServeError }): void;
  sourceFailed(facts: { readonly model: string; readonly status: StatusReport }): void;
  /** A SavedModel was imported here; `byteLength`: of the result. */
  modelImported(facts: { readonly folder: string; readonly tookMs: number; readonly byteLength: number }): void;
  versionRefused(facts: { readonly model: string; readonly version: number; readonly status: StatusReport }): void;
  checkUnavailable(facts: { readonly model: string; readonly version: number; readonly error: ServeError }): void;
  versionAvailable(id: ServableId): void;
  versionFailed(facts: { readonly id: ServableId; readonly status: StatusReport }): void;
  versionUnloaded(id: ServableId): void;
  labelBound(facts: { readonly model: string; readonly label: string; readonly version: number }): void;
  storeUnavailable(facts: { readonly doing: string; readonly error: ServeError }): void;
  /** One call of user code has ended. Metric only: what is wrong is in the model's status and its log line. */
  userCodeCalled(facts: UserCode & { readonly call: string; readonly outcome: string }): void;
  /** User code lost its thread: by a limit, by an error that nothing caught, or by leaving. */
  userThreadLost(facts: UserCode & { readonly error: ServeError }): void;
  /** A failure of user code that concerns no model's status: a source did not stop as it should. */
  userCodeFailed(facts: UserCode & { readonly error: ServeError }): void;
  /** A line that user code printed. */
  userCodeSaid(facts: UserCode & { readonly line: string }): void;
  /** availability_preserving decided instead of a policy's module. */
  policyOverruled(facts: { readonly model: string; readonly name: string; readonly why: string }): void;
  /** Something a worker or gateway sent could not be used. */
  messageIgnored(facts: { readonly what: string; readonly error: ServeError }): void;
  fleetSeen(facts: { readonly workers: number; readonly models: number }): void;
}

/** A module of user code in a registry. */
export interface UserCode {
  readonly kind: 'source' | 'policy';
  readonly name: string;
}

/** Makes a registry's events. Registers its metrics once per process: two registries of one process share them. */
export function createRegistryEvents({ log, metrics }: Telemetry): RegistryEvents {
  const leading = gauge('headrace_registry_leading', '1 while this registry leads');
  const workers = gauge('headrace_registry_workers', 'Live workers as the leading registry sees them');
  const models = gauge('headrace_registry_models', 'Models of the running configuration');
  const transitions = counter('headrace_registry_transitions_total', 'Versions that became available, failed or were unloaded', ['state']);
  const troubles = counter('headrace_registry_troubles_total', 'What did not work, by what it was', ['what']);

  const userCalls = counter('headrace_registry_user_code_calls_total', 'Calls of source and policy modules, by how they ended', [
    'kind',
    'name',
    'call',
    'outcome',
  ]);

  function gauge(name: string, help: string): Gauge {
    const known = metrics.getSingleMetric(name);
    return known instanceof Gauge ? known : new Gauge({ name, help, registers: [metrics] });
  }
  function counter<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Counter<Label> {
    const known = metrics.getSingleMetric(name);
    return known instanceof Counter ? (known as Counter<Label>) : new Counter({ name, help, labelNames, registers: [metrics] });
  }

  const logIgnored = createRareReport<{ readonly what: string; readonly error: ServeError }>((facts, times) =>
    log.warn({ what: facts.what, reason: facts.error.message, times }, 'a message was ignored'),
  );

  return {
    leadershipTaken(facts) {
      leading.set(1);
      log.info(facts, 'this registry leads');
    },
    leadershipLost(facts) {
      leading.set(0);
      log.info(facts, 'this registry no longer leads');
    },
    configApplied(facts) {
      log.info({ revision: facts.revision, removed: facts.removed }, 'Adding/updating models.');
      // TF Serving's line, model and all: people search their logs for it.
      for (const model of facts.models) log.info({ model }, ` (Re-)adding model: ${model}`);
    },
    configFileFailed(facts) {
      troubles.inc({ what: 'config-file' });
      log.error({ file: facts.file, reason: facts.error.message }, 'PollFilesystemAndReloadConfig failed to ReloadConfig');
    },
    sourceFailed(facts) {
      troubles.inc({ what: 'source' });
      log.warn(facts, facts.status.message);
    },
    modelImported: (facts) => log.info(facts, 'a SavedModel was imported'),
    versionRefused(facts) {
      troubles.inc({ what: 'version' });
      log.error(facts, 'a version folder did not pass its check');
    },
    checkUnavailable(facts) {
      troubles.inc({ what: 'check' });
      log.warn({ ...facts, error: facts.error.message }, 'a version folder cannot be checked now');
    },
    versionAvailable(id) {
      transitions.inc({ state: 'available' });
      log.info(id, `Successfully loaded servable version {name: ${id.name} version: ${id.version}}`);
    },
    versionFailed(facts) {
      transitions.inc({ state: 'failed' });
      log.error(facts, 'a version failed to load');
    },
    versionUnloaded(id) {
      transitions.inc({ state: 'unloaded' });
      log.info(id, 'a version was unloaded');
    },
    labelBound: (facts) => log.info(facts, 'a label resolves to another version'),
    storeUnavailable(facts) {
      troubles.inc({ what: 'store' });
      log.warn({ doing: facts.doing, reason: facts.error.message }, 'the state store cannot be used now; what runs goes on from memory');
    },
    userCodeCalled: ({ kind, name, call, outcome }) => userCalls.inc({ kind, name, call, outcome }),
    userThreadLost({ kind, name, error }) {
      troubles.inc({ what: 'user-code' });
      log.error({ kind, name, code: error.code, reason: error.message }, 'user code lost its thread');
    },
    userCodeFailed({ kind, name, error }) {
      troubles.inc({ what: 'user-code' });
      log.warn({ kind, name, code: error.code, reason: error.message }, 'user code failed');
    },
    userCodeSaid: (facts) => log.info(facts, 'user code printed a line'),
    policyOverruled(facts) {
      troubles.inc({ what: 'policy' });
      log.error(facts, facts.why);
    },
    messageIgnored(facts) {
      troubles.inc({ what: 'message' });
      logIgnored(facts);
    },
    fleetSeen(facts) {
      workers.set(facts.workers);
      models.set(facts.models);
    },
  };
}
