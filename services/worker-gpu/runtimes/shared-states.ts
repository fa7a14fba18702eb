import type { LoadContext } from '../../../extend/servables.ts';

/** State that servables of one module share on one thread. */
export interface SharedStates {
  /** Opens an account for one servable, which is disposed when it has been unloaded or could not be loaded. */
  open(moduleUrl: string): SharedAccount;
}

/** What one servable has asked for. Disposing it drops what nobody else uses; rejects with the first failure to, when all are dropped. */
export interface SharedAccount extends AsyncDisposable {
  readonly shared: LoadContext['shared'];
}

type State = Disposable | AsyncDisposable;

interface Entry {
  readonly state: Promise<State>;
  readonly users: Set<SharedAccount>;
}

/** Makes the states of a thread; none at first. */
export function createSharedStates(): SharedStates {
  const entries = new Map<string, Entry>();

  async function drop(account: SharedAccount): Promise<void> {
    const failures: unknown[] = [];
    for (const [name, entry] of entries) {
      if (!entry.users.delete(account) || entry.users.size > 0) continue;
      entries.delete(name);
      try {
        await disposeState(await entry.state);
      } catch (caught) {
        failures.push(caught);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  return {
    open(moduleUrl) {
      let closed = false;
      const account: SharedAccount = {
        async shared<Made extends State>(key: string, make: () => Made | Promise<Made>): Promise<Made> {
          if (closed) throw new Error(`the shared state "${key}" was asked for after the load had ended`);
          // A changed module is another module: its classes are not those of the states that the one before it made.
          const name = `${moduleUrl} ${key}`;
          let entry = entries.get(name);
          if (entry === undefined) {
            entry = { state: Promise.resolve().then(make), users: new Set() };
            entries.set(name, entry);
          }
          entry.users.add(account);
          try {
            return (await entry.state) as Made;
          } catch (caught) {
            // What could not be made is made anew by whoever asks next.
            if (entries.get(name) === entry) entries.delete(name);
            throw caught;
          }
        },
        async [Symbol.asyncDispose]() {
          if (closed) return;
          closed = true;
          await drop(account);
        },
      };
      return account;
    },
  };
}

async function disposeState(state: State): Promise<void> {
  if (Symbol.asyncDispose in state) await state[Symbol.asyncDispose]();
  else state[Symbol.dispose]();
}
