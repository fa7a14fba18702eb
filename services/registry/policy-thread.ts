/** The body of the thread of a transition policy's module. */
import { workerData } from 'node:worker_threads';
import type { NextAction, PolicyAction, VersionSnapshot } from '../../extend/sources.ts';
import { answerCalls, importDefault } from './guarded-body.ts';

/** What the thread is started with. */
export interface PolicyThreadData {
  readonly file: string;
  /** Of the file. */
  readonly url: string;
}

const { file, url } = workerData as PolicyThreadData;

answerCalls(async (versions) => {
  const nextAction = (await importDefault(file, url)) as NextAction;
  return readAction(await nextAction(versions as readonly VersionSnapshot[]));
});

function readAction(answer: unknown): PolicyAction {
  if (answer === null || answer === undefined) return null;
  if (typeof answer === 'object' && 'type' in answer && 'version' in answer) {
    const { type, version } = answer;
    if ((type === 'load' || type === 'unload') && typeof version === 'number') return { type, version };
  }
  throw new Error("it returned neither null nor {type: 'load' or 'unload', version}");
}
