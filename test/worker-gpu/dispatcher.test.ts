import { expect, test } from '@jest/globals';
import { createDispatcher } from '../../services/worker-gpu/dispatcher.ts';
import type { Executor } from '../../services/worker-gpu/executor.ts';
import type { ModelKey } from '../../services/worker-gpu/executor-protocol.ts';

const model = 1 as ModelKey;

interface Pretended {
  kind: Executor['kind'];
  inFlight: number;
  loading: number;
}

function executor(pretended: Pretended): Executor {
  const { kind } = pretended;
  return {
    kind,
    get inFlight() {
      return pretended.inFlight;
    },
    get loading() {
      return pretended.loading;
    },
    canTake: () => pretended.inFlight < 2,
  } as unknown as Executor;
}

/** Submits one piece of work over the executors and says where it went, if anywhere. */
function submit(pretended: readonly Pretended[]) {
  const dispatcher = createDispatcher();
  const executors = pretended.map(executor);
  const started: number[] = [];
  dispatcher.submit({ model, executors, start: (on) => started.push(executors.indexOf(on)), refuse: () => {} });
  return { dispatcher, started };
}

test.each<readonly [string, Pretended, Pretended, number[]]>([
  ['the one with less to do', { kind: 'shared', inFlight: 1, loading: 0 }, { kind: 'shared', inFlight: 0, loading: 0 }, [1]],
  ['one that does not load', { kind: 'shared', inFlight: 0, loading: 1 }, { kind: 'shared', inFlight: 1, loading: 0 }, [1]],
  [
    'one that loads when all others are full',
    { kind: 'shared', inFlight: 0, loading: 1 },
    { kind: 'shared', inFlight: 2, loading: 0 },
    [0],
  ],
  [
    'none of code of users that loads, while another does not',
    { kind: 'guarded', inFlight: 0, loading: 1 },
    { kind: 'guarded', inFlight: 2, loading: 0 },
    [],
  ],
  [
    'one of code of users that loads when all do',
    { kind: 'guarded', inFlight: 1, loading: 1 },
    { kind: 'guarded', inFlight: 0, loading: 1 },
    [1],
  ],
])('work goes to %s', (_name, first, second, expected) => {
  expect(submit([first, second]).started).toEqual(expected);
});

test('work that waited for a busy executor rather than a loading one runs there once it is free', () => {
  const busy: Pretended = { kind: 'guarded', inFlight: 2, loading: 0 };
  const { dispatcher, started } = submit([{ kind: 'guarded', inFlight: 0, loading: 1 }, busy]);
  busy.inFlight = 1;
  dispatcher.pump();
  expect(started).toEqual([1]);
});
