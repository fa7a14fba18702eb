import { once } from 'node:events';
import { createServer } from 'node:http';
import { join } from 'node:path';
import type { Engine } from './engine.ts';
import type { Images } from './images.ts';
import type { ModelFolder } from './models.ts';
import { run, tryRun, until } from './shell.ts';

/** The services of docker-compose.yml. */
export type Service = 'nats' | 'redis' | 'registry' | 'batcher' | 'worker-gpu' | 'gateway-a' | 'gateway-b';

/** Where one gateway listens on this machine. */
export interface GatewayAddress {
  readonly rest: string;
  readonly grpc: string;
}

/** A running container of the fleet. */
export interface Container {
  readonly id: string;
  readonly name: string;
  /** As `docker ps` prints it: `Up 4 seconds (healthy)`. */
  readonly status: string;
}

/** The compose project under test. Disposing removes its containers, networks and volumes. */
export interface Fleet extends AsyncDisposable {
  readonly gateways: readonly [GatewayAddress, GatewayAddress];
  /** Starts everything with this many workers and waits until all is healthy. */
  up(workers: number): Promise<void>;
  /** Changes the number of workers and waits until those that stay are healthy and the others are gone. */
  scaleWorkers(workers: number): Promise<void>;
  containers(service: Service): Promise<readonly Container[]>;
  /** Ends a process without a word, as a crash or a lost machine does. */
  kill(container: Container): Promise<void>;
  /** Starts what was killed or stopped and waits until all is healthy. */
  heal(): Promise<void>;
  /** Kills the one container of a service and starts it again. */
  crashAndRestart(service: Service): Promise<void>;
  /** Drains one service as `docker compose stop` does. */
  stop(service: Service): Promise<void>;
  /** The registry that leads. */
  leader(): Promise<Container>;
  /** What lies in the cache of imported SavedModels. */
  plans(): Promise<readonly string[]>;
  /** The last lines of every container. */
  logs(lines: number): Promise<string>;
}

const START_BOUND_MS = 150_000;

/** Names the project and picks free ports; `up` starts it. */
export async function createFleet(options: {
  readonly engine: Engine;
  readonly images: Images;
  readonly models: ModelFolder;
  readonly root: string;
}): Promise<Fleet> {
  const { engine, images, models, root } = options;
  const project = `headrace-test-${process.pid}`;
  const [grpcA, restA, grpcB, restB] = await freePorts(4);
  const env = {
    HEADRACE_IMAGE: images.headrace,
    NODE_IMAGE: images.node,
    NATS_IMAGE: images.nats,
    REDIS_IMAGE: images.redis,
    MODELS_DIR: models.directory,
    MODEL_CONFIG: models.configFile,
    GATEWAY_A_GRPC_PORT: String(grpcA),
    GATEWAY_A_REST_PORT: String(restA),
    GATEWAY_B_GRPC_PORT: String(grpcB),
    GATEWAY_B_REST_PORT: String(restB),
  };
  const gateways = [
    { rest: `127.0.0.1:${restA}`, grpc: `127.0.0.1:${grpcA}` },
    { rest: `127.0.0.1:${restB}`, grpc: `127.0.0.1:${grpcB}` },
  ] as const;
  const [command = 'docker-compose', ...prefix] = engine.compose;
  let closed = false;
  let last: Promise<unknown> = Promise.resolve();
  // One command at a time, and none after disposal has begun: a step that was interrupted must not start again what is being removed.
  async function compose(...args: string[]): Promise<string> {
    const own = last.then(() => {
      if (closed && args[0] !== 'down') throw new Error('the fleet is being taken down');
      return run(command, [...prefix, '-p', project, '-f', join(root, 'docker-compose.yml'), ...args], {
        cwd: root,
        env,
        timeoutMs: 300_000,
      });
    });
    last = own.catch(() => undefined);
    return own;
  }
  let workers = 0;

  async function containers(service: Service): Promise<readonly Container[]> {
    const labels = [`label=com.docker.compose.project=${project}`, `label=com.docker.compose.service=${service}`];
    const text = await run('docker', [
      'ps',
      ...labels.flatMap((label) => ['--filter', label]),
      '--format',
      '{{.ID}}\t{{.Names}}\t{{.Status}}',
    ]);
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [id = '', name = '', status = ''] = line.split('\t');
        return { id, name, status };
      });
  }

  async function untilHealthy(): Promise<void> {
    const expected: Record<Service, number> = {
      nats: 1,
      redis: 1,
      registry: 2,
      batcher: 2,
      'worker-gpu': workers,
      'gateway-a': 1,
      'gateway-b': 1,
    };
    for (const service of Object.keys(expected) as Service[]) {
      await until(`${expected[service]} healthy ${service}`, START_BOUND_MS, async () => {
        const found = await containers(service);
        const failing = found.find((one) => one.status.startsWith('Restarting'));
        if (failing) throw new Error(`${failing.name} does not stay up: ${failing.status}`);
        return found.length === expected[service] && found.every((one) => one.status.includes('(healthy)')) ? true : undefined;
      });
    }
  }

  async function onlyOne(service: Service): Promise<Container> {
    const [container] = await containers(service);
    if (!container) throw new Error(`no ${service} is running`);
    return container;
  }

  const fleet: Fleet = {
    gateways,
    containers,
    async up(count) {
      workers = count;
      await compose('up', '-d', '--no-build', '--scale', `worker-gpu=${count}`);
      await untilHealthy();
    },
    async scaleWorkers(count) {
      workers = count;
      await compose('up', '-d', '--no-build', '--no-deps', '--no-recreate', '--scale', `worker-gpu=${count}`, 'worker-gpu');
      await untilHealthy();
    },
    async kill(container) {
      await run('docker', ['kill', '--signal=KILL', container.id]);
    },
    async heal() {
      await compose('up', '-d', '--no-build', '--no-recreate', '--scale', `worker-gpu=${workers}`);
      await untilHealthy();
    },
    async crashAndRestart(service) {
      const container = await onlyOne(service);
      await fleet.kill(container);
      await run('docker', ['start', container.id]);
      await untilHealthy();
    },
    async stop(service) {
      await compose('stop', service);
    },
    async leader() {
      return until('a leading registry', 30_000, async () => {
        for (const container of await containers('registry')) {
          const probe = "fetch('http://127.0.0.1:9101/metrics').then(async (response) => console.log(await response.text()))";
          const { output } = await tryRun('docker', ['exec', container.id, 'node', '-e', probe]);
          if (/^headrace_registry_leading(\{.*\})? 1$/m.test(output)) return container;
        }
        return undefined;
      });
    },
    async plans() {
      const text = await run('docker', ['exec', (await onlyOne('worker-gpu')).id, 'ls', '/var/cache/headrace']);
      return text.split(/\s+/).filter((name) => name !== '');
    },
    async logs(lines) {
      return compose('logs', '--no-color', `--tail=${lines}`);
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      await compose('down', '--volumes', '--remove-orphans', '--timeout', '5');
    },
  };
  return fleet;
}

/** Ports that nobody listens on at this moment, all different. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0);
      await once(server, 'listening');
      return server;
    }),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return address !== null && typeof address === 'object' ? address.port : 0;
  });
  await Promise.all(
    servers.map(async (server) => {
      server.close();
      await once(server, 'close');
    }),
  );
  return ports;
}
