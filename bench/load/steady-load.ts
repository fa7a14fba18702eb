import { Agent, request } from 'node:http';

/** One answered (or failed) request of a steady load. */
export interface Shot {
  /** When it was due, on performance.now()'s clock: a server that stalls cannot hide by slowing the load down. */
  readonly dueMs: number;
  readonly doneMs: number;
  readonly ok: boolean;
  /** The version that answered, from `x-headrace-model-version`; empty without one. */
  readonly version: string;
}

/** A load that sends at fixed instants, whatever comes back. */
export interface SteadyLoad {
  /** Sends no more, waits for what is under way and gives all shots. */
  stop(): Promise<readonly Shot[]>;
}

/** Sends `perSecond` requests a second to `url` until stopped. */
export function startSteadyLoad(load: { readonly url: string; readonly body: string; readonly perSecond: number }): SteadyLoad {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const options = {
    agent,
    method: 'POST',
    headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(load.body) },
  };
  const everyMs = 1000 / load.perSecond;
  const shots: Shot[] = [];
  const underWay = new Set<Promise<void>>();
  let dueMs = performance.now();

  const shoot = (due: number): Promise<void> =>
    new Promise((resolve) => {
      const done = (ok: boolean, version: string): void => {
        shots.push({ dueMs: due, doneMs: performance.now(), ok, version });
        resolve();
      };
      const sent = request(load.url, options, (response) => {
        response.resume();
        response.on('end', () => done(response.statusCode === 200, String(response.headers['x-headrace-model-version'] ?? '')));
      });
      sent.setTimeout(10_000, () => sent.destroy(new Error('no answer within 10 s')));
      sent.on('error', () => done(false, ''));
      sent.end(load.body);
    });
  const timer = setInterval(() => {
    for (; dueMs <= performance.now(); dueMs += everyMs) {
      const shot = shoot(dueMs).then(() => void underWay.delete(shot));
      underWay.add(shot);
    }
  }, 1);
  return {
    async stop() {
      clearInterval(timer);
      await Promise.all(underWay);
      agent.destroy();
      return shots;
    },
  };
}
