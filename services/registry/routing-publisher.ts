import { fromUtf8, utf8 } from '#mesh/bytes.ts';
import type { RegistryAnswer, RoutedModel, RoutingUpdate } from '#mesh/control.ts';
import { ServeError } from '#mesh/errors.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { Transport } from '#mesh/transport.ts';

/** The routing table of one leadership. */
export interface RoutingPublisher {
  /** Compares with what was published and sends what changed, in as few messages as fit. */
  publish(models: ReadonlyMap<string, RoutedModel>): void;
  /** One page of the table, in order of name. Holds at least one model when there is one after `after`. */
  page(after: string, maxBytes: number): Extract<RegistryAnswer, { readonly type: 'routing' }>;
}

/** Room left in a message for what is not a model. */
const ENVELOPE_BYTES = 4096;

/** Makes the publisher of one leadership. `fencingToken` goes with every update: gateways follow the highest they have heard. */
export function createRoutingPublisher(transport: Transport, subjects: Subjects, fencingToken: number): RoutingPublisher {
  const published = new Map<string, { readonly model: RoutedModel; readonly text: Uint8Array }>();
  /** The names in order; undefined: to be put in order when somebody asks. */
  let ordered: readonly string[] | undefined;
  let revision = 0;

  function send(models: readonly Uint8Array[], removed: readonly string[]): void {
    revision++;
    const update: RoutingUpdate = { fencingToken, revision, models: [], removed };
    // The models are text already: they are put into the update instead of being written twice.
    const text = JSON.stringify(update).replace('"models":[]', () => `"models":[${models.map((model) => fromUtf8(model)).join(',')}]`);
    transport.publish(subjects.routing, utf8(text));
  }

  return {
    publish(models) {
      const changed: { readonly name: string; readonly text: Uint8Array }[] = [];
      for (const [name, model] of models) {
        const before = published.get(name);
        if (before?.model === model) continue;
        const text = utf8(JSON.stringify(model));
        if (before === undefined || Buffer.compare(before.text, text) !== 0) changed.push({ name, text });
        if (before === undefined) ordered = undefined;
        published.set(name, { model, text });
      }
      let removed: readonly string[] = [];
      if (published.size > models.size) {
        removed = [...published.keys()].filter((name) => !models.has(name));
        for (const name of removed) published.delete(name);
        ordered = undefined;
      }
      if (changed.length === 0 && removed.length === 0) return;
      changed.sort((a, b) => (a.name < b.name ? -1 : 1));
      const room = transport.maxPayloadBytes - ENVELOPE_BYTES;
      let part: Uint8Array[] = [];
      let bytes = utf8(JSON.stringify(removed)).byteLength;
      for (const { text } of changed) {
        if (part.length > 0 && bytes + text.byteLength + 1 > room) {
          send(part, removed);
          part = [];
          removed = [];
          bytes = 0;
        }
        part.push(text);
        bytes += text.byteLength + 1;
      }
      send(part, removed);
    },
    page(after, maxBytes) {
      ordered ??= [...published.keys()].sort();
      const names = after === '' ? ordered : ordered.filter((name) => name > after);
      const models: RoutedModel[] = [];
      let bytes = ENVELOPE_BYTES;
      for (const name of names) {
        const found = published.get(name);
        if (found === undefined) throw new ServeError('INTERNAL', `the routing table lost ${name}: this is a bug`);
        if (models.length > 0 && bytes + found.text.byteLength > maxBytes) break;
        models.push(found.model);
        bytes += found.text.byteLength;
      }
      const last = models.at(-1)?.name;
      const next = last === undefined || models.length === names.length ? null : last;
      return { type: 'routing', update: { fencingToken, revision, models, removed: [] }, next };
    },
  };
}
