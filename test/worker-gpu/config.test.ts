import { describe, expect, test } from '@jest/globals';
import { parseSettings, SettingError } from '#mesh/config.ts';
import { opThreads, parseExecutionProviders, WORKER_SETTINGS } from '../../services/worker-gpu/config.ts';

const threads = (...args: string[]) => opThreads(parseSettings(WORKER_SETTINGS, { args, env: {} }).values);

describe('settings of a worker', () => {
  test.each<[string[], { intraOpThreads: number; interOpThreads: number }]>([
    [[], { intraOpThreads: 1, interOpThreads: 1 }],
    [['--intra_op_threads=3'], { intraOpThreads: 3, interOpThreads: 1 }],
    [['--tensorflow_session_parallelism=4'], { intraOpThreads: 4, interOpThreads: 4 }],
    [['--tensorflow_intra_op_parallelism=2'], { intraOpThreads: 2, interOpThreads: 1 }],
    [['--tensorflow_session_parallelism=4', '--tensorflow_inter_op_parallelism=2'], { intraOpThreads: 1, interOpThreads: 2 }],
  ])('%j means %j', (args, wanted) => {
    expect(threads(...args)).toEqual(wanted);
  });

  test('all three flags of parallelism at once are refused in the words of TF Serving', () => {
    expect(() =>
      threads('--tensorflow_session_parallelism=1', '--tensorflow_intra_op_parallelism=1', '--tensorflow_inter_op_parallelism=1'),
    ).toThrow(/^Either configure server_options\.tensorflow_session_parallelism or .* You cannot configure all\.$/);
  });

  test('execution providers are a list of known names', () => {
    expect(parseExecutionProviders(' cuda, cpu ')).toEqual(['cuda', 'cpu']);
    expect(parseExecutionProviders('')).toEqual(['cpu']);
    expect(() => parseExecutionProviders('cuda,tpu')).toThrow(SettingError);
  });
});
