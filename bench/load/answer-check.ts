/** Answers that are looked at: what a load generator counts may be quick and wrong. */
import { Agent, request } from 'node:http';

/** A model whose answers are known. */
export interface KnownModel {
  readonly name: string;
  /** What it answers for x, exact for small multiples of 1/8. */
  truth(x: number): number;
}

/** Asks again and again while a load runs. */
export interface AnswerCheck {
  /** Asks no more. Rejects with the first answer that was wrong or an error, and when nothing was asked. */
  stop(): Promise<void>;
}

const AT_ONCE = 16;
const LIMIT_MS = 30_000;
/** Seldom enough to cost the load nothing that shows. */
const EVERY_MS = 100;

/** Asks every model once, some at a time. Rejects with the first answer that is wrong. */
export async function checkEach(restPort: number, models: readonly KnownModel[]): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
  const waiting = models.entries();
  async function askOneByOne(): Promise<void> {
    for (const [index, model] of waiting) await ask(agent, restPort, model, (index % 64) / 8);
  }
  try {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, models.length) }, askOneByOne));
  } finally {
    agent.destroy();
  }
}

/** Asks one model after the other, ten requests a second and each with a number of its own, so that an answer meant for another caller is seen. */
export function startAnswerCheck(restPort: number, models: readonly KnownModel[]): AnswerCheck {
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
  const problems: unknown[] = [];
  const underWay = new Set<Promise<void>>();
  let asked = 0;
  const timer = setInterval(() => {
    const model = models[asked % models.length];
    if (model === undefined || underWay.size >= AT_ONCE) return;
    const asking = ask(agent, restPort, model, (asked % 8000) / 8).then(
      () => void underWay.delete(asking),
      (problem: unknown) => {
        problems.push(problem);
        underWay.delete(asking);
      },
    );
    underWay.add(asking);
    asked++;
  }, EVERY_MS);
  return {
    async stop() {
      clearInterval(timer);
      await Promise.all(underWay);
      agent.destroy();
      if (problems.length > 0) throw problems[0];
      if (asked === 0) throw new Error('no answer was looked at: the load was too short');
    },
  };
}

/** Runs a load while answers are looked at. Rejects when either does. */
export async function whileChecking<Result>(restPort: number, models: readonly KnownModel[], load: () => Promise<Result>): Promise<Result> {
  const check = startAnswerCheck(restPort, models);
  try {
    return await load();
  } finally {
    await check.stop();
  }
}

async function ask(agent: Agent, port: number, { name, truth }: KnownModel, x: number): Promise<void> {
  const text = await post(agent, port, name, JSON.stringify({ instances: [x] }));
  const answered = (JSON.parse(text) as { readonly predictions?: readonly unknown[] }).predictions;
  if (answered?.length !== 1 || answered[0] !== truth(x)) throw new Error(`${name} answered ${text} for ${x}, expected ${truth(x)}`);
}

function post(agent: Agent, port: number, model: string, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const sent = request({ agent, host: '127.0.0.1', port, method: 'POST', path: `/v1/models/${model}:predict`, headers }, (response) => {
      const parts: string[] = [];
      response.setEncoding('utf8').on('data', (part: string) => parts.push(part));
      response.on('error', reject);
      response.on('end', () => {
        const text = parts.join('');
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`${model} answered ${response.statusCode}: ${text}`));
      });
    });
    sent.setTimeout(LIMIT_MS, () => sent.destroy(new Error(`${model}: no answer within ${LIMIT_MS / 1000} s`)));
    sent.on('error', reject);
    sent.end(body);
  });
}
