import type { Declaration } from './config.ts';

/** Limits of user code: custom ops and servables on workers, custom sources and transition policies in registries. */
export const USER_CODE_SETTINGS = {
  userCodeCallLimitMs: {
    name: 'user_code_call_limit_ms',
    type: 'int',
    default: 10_000,
    min: 1,
    help: 'How long one call of user code (a custom op, servable, source or transition policy) may take, in ms. One that takes longer fails with the name of the code, and the process or thread that runs it is replaced.',
    group: 'Headrace',
    treatment: 'honoured',
  },
  userCodeMemoryLimitBytes: {
    name: 'user_code_memory_limit_bytes',
    type: 'int',
    default: 1024 * 1024 * 1024,
    min: 16 * 1024 * 1024,
    help: 'Memory that user code may hold, in bytes, heap and buffers together: on a worker, in each of its processes, beyond what their servables are estimated to need; in a registry, in each of its threads. What holds more is replaced, and the call under way fails with the name of the code.',
    group: 'Headrace',
    treatment: 'honoured',
  },
} as const satisfies Declaration;
