/** The body of the thread of one module of sources: makes a source for each model that asks, starts, asks and stops it. */
import { workerData } from 'node:worker_threads';
import { checkFoundVersions } from '../../extend/connect.ts';
import type { FoundVersion, Source, SourceFactory } from '../../extend/sources.ts';
import { answerCalls, importDefault, textOf } from './guarded-body.ts';

/** What the thread is started with. */
export interface SourceThreadData {
  readonly file: string;
  /** Of the file. */
  readonly url: string;
}

/** One model's source, as the registry names it. */
export interface WantedSource {
  readonly id: number;
  readonly model: { readonly name: string; readonly location: string };
}

/** What a source is to do. `open` answers with its kind; what is not open yet is opened. */
export type SourceOrder = { readonly type: 'open' | 'find' | 'close' } & WantedSource;

/** What a source that pushes says. */
export type SourceNews =
  | { readonly id: number; readonly versions: readonly FoundVersion[] }
  | { readonly id: number; readonly failed: string };

/** Which kind of source a module made. */
export type SourceKind = 'polled' | 'pushing';

const { file, url } = workerData as SourceThreadData;
const opened = new Map<number, Promise<Source>>();
/** The last word of each source that pushes, until it is sent: many words in one turn of the loop are one message. */
const news = new Map<number, SourceNews>();

const tell = answerCalls(async (order, signal) => {
  const { type, id } = order as SourceOrder;
  if (type === 'close') return close(id);
  const source = await open(order as SourceOrder);
  if (type === 'open') return 'find' in source ? 'polled' : 'pushing';
  if (!('find' in source)) throw new Error('the source has no find');
  return checkFoundVersions(await source.find(signal));
});

function open({ id, model }: WantedSource): Promise<Source> {
  const known = opened.get(id);
  if (known) return known;
  const opening = make(id, model);
  opened.set(id, opening);
  opening.catch(() => opened.delete(id));
  return opening;
}

async function make(id: number, model: WantedSource['model']): Promise<Source> {
  const factory = (await importDefault(file, url)) as SourceFactory;
  const source: unknown = await factory(model);
  if (typeof source !== 'object' || source === null || !('find' in source || 'start' in source)) {
    throw new Error(`${file} returned no source: neither find nor start is there`);
  }
  const made = source as Source;
  if (!('start' in made)) return made;
  try {
    await made.start(
      (versions) => say(id, { id, versions: checkFoundVersions(versions) }),
      (error) => say(id, { id, failed: textOf(error) }),
    );
  } catch (caught) {
    news.delete(id);
    await made.stop?.();
    throw caught;
  }
  return made;
}

function say(id: number, said: SourceNews): void {
  if (!opened.has(id)) return;
  if (news.size === 0) {
    setImmediate(() => {
      for (const last of news.values()) tell(last);
      news.clear();
    });
  }
  news.set(id, said);
}

async function close(id: number): Promise<void> {
  const known = opened.get(id);
  opened.delete(id);
  news.delete(id);
  await (await known)?.stop?.();
}
