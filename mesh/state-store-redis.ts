import { Redis } from 'ioredis';
import { ServeError, toServeError } from './errors.ts';
import type { Fencing, StateStore, Versioned } from './state-store.ts';
import { staleFencing, wrongRevision } from './state-store-memory.ts';

/** Where the store keeps its keys, and how long an operation waits for Redis. Fixed while the process runs. */
export interface RedisStateStoreOptions {
  /** Such as `redis://127.0.0.1:6379`. */
  readonly url: string;
  /** What every key starts with: separates meshes that share a Redis. */
  readonly prefix: string;
  /** The bound of every operation; default 2000 ms. */
  readonly timeoutMs?: number;
  /** Hears of lost connections and failed attempts to connect. The store reconnects by itself. */
  readonly onTrouble: (trouble: Error) => void;
}

/*
 * Keys, with {p} the prefix as a cluster hash tag (so that every script touches one slot):
 *   {p}:doc:<key>        hash of v (JSON) and r (revision)
 *   {p}:keys             sorted set of all document keys, all of score 0: an index in byte order
 *   {p}:lease:<name>     the holder, with a time to live
 *   {p}:token:<name>     the newest fencing token
 */

/** KEYS doc, index, token; ARGV mode (put|remove), name, expected, value, fencing token ('' for none). Returns [status, number]. */
const WRITE = `
if ARGV[5] ~= '' then
  local newest = tonumber(redis.call('GET', KEYS[3]) or '0')
  if tonumber(ARGV[5]) < newest then return {'fenced', newest} end
end
local revision = tonumber(redis.call('HGET', KEYS[1], 'r') or '0')
if revision ~= tonumber(ARGV[3]) then return {'revision', revision} end
if ARGV[1] == 'remove' then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[2])
  return {'ok', 0}
end
redis.call('HSET', KEYS[1], 'v', ARGV[4], 'r', revision + 1)
redis.call('ZADD', KEYS[2], 0, ARGV[2])
return {'ok', revision + 1}
`;

/** KEYS index; ARGV prefix of names, prefix of document keys. Returns name, value, revision, name, … */
const LIST = `
local names
if ARGV[1] == '' then names = redis.call('ZRANGEBYLEX', KEYS[1], '-', '+')
else names = redis.call('ZRANGEBYLEX', KEYS[1], '[' .. ARGV[1], '(' .. ARGV[1] .. '\\255') end
local out = {}
for _, name in ipairs(names) do
  local found = redis.call('HMGET', ARGV[2] .. name, 'v', 'r')
  if found[1] then
    out[#out + 1] = name
    out[#out + 1] = found[1]
    out[#out + 1] = found[2]
  end
end
return out
`;

/**
 * KEYS lease, token; ARGV holder, ttl in ms. Returns the token, or 0 when somebody else holds the lease. A new token is at least the time in
 * seconds, so that tokens go on growing when Redis comes back empty: members ignore lower ones than they have seen.
 */
const ACQUIRE = `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local token = tonumber(redis.call('GET', KEYS[2]) or '0')
if holder and token > 0 then return token end
token = math.max(token + 1, tonumber(redis.call('TIME')[1]))
redis.call('SET', KEYS[2], string.format('%.0f', token))
return token
`;

/** KEYS lease; ARGV holder. */
const RELEASE = `if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 0`;

/**
 * A state store in Redis. Every write is one script, so compare-and-swap and fencing are decided inside Redis. Connecting goes on in the
 * background: a store made while Redis is down works as soon as it is up.
 */
export function createRedisStateStore(options: RedisStateStoreOptions): StateStore {
  const { url, timeoutMs = 2000 } = options;
  const root = `{${options.prefix}}`;
  const documentPrefix = `${root}:doc:`;
  const indexKey = `${root}:keys`;
  // No queue of commands while offline, and no resending: a write that was reported as failed must not happen minutes later.
  const redis = new Redis(url, {
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: timeoutMs,
    connectTimeout: timeoutMs,
    retryStrategy: (attempt) => Math.min(50 * attempt, 1000),
  });
  redis.on('error', options.onTrouble);

  /** Resolves once connected; rejects when that takes longer than the bound. */
  function connected(): Promise<void> {
    if (redis.status === 'ready') return Promise.resolve();
    if (redis.status === 'end') return Promise.reject(unreachable('the store is closed'));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => finish(() => reject(unreachable(`no connection within ${timeoutMs} ms`))), timeoutMs);
      const onReady = () => finish(resolve);
      const onEnd = () => finish(() => reject(unreachable('the store is closed')));
      function finish(settle: () => void): void {
        clearTimeout(timer);
        redis.off('ready', onReady);
        redis.off('end', onEnd);
        settle();
      }
      redis.once('ready', onReady);
      redis.once('end', onEnd);
    });
  }

  function unreachable(why: string, cause?: unknown): ServeError {
    return new ServeError('UNAVAILABLE', `the state store at ${redactPassword(url)} cannot be reached: ${why}`, { cause });
  }

  async function run<Answer>(command: () => Promise<Answer>): Promise<Answer> {
    await connected();
    try {
      return await command();
    } catch (caught) {
      throw unreachable(toServeError(caught).message, caught);
    }
  }

  async function write(mode: 'put' | 'remove', key: string, text: string, expected: number, fencing: Fencing | undefined): Promise<number> {
    const keys = [documentPrefix + key, indexKey, `${root}:token:${fencing?.lease ?? ''}`];
    const [status, number] = (await run(() =>
      redis.eval(WRITE, keys.length, ...keys, mode, key, expected, text, fencing?.token ?? ''),
    )) as [string, number];
    if (status === 'revision') throw wrongRevision(key, expected, number);
    if (status === 'fenced' && fencing !== undefined) throw staleFencing(fencing, number);
    return number;
  }

  return {
    async get<Value>(key: string): Promise<Versioned<Value> | null> {
      const [text, revision] = await run(() => redis.hmget(documentPrefix + key, 'v', 'r'));
      return typeof text === 'string' ? { value: JSON.parse(text) as Value, revision: Number(revision) } : null;
    },
    async list<Value>(prefix: string) {
      const flat = (await run(() => redis.eval(LIST, 1, indexKey, prefix, documentPrefix))) as string[];
      const entries: (Versioned<Value> & { readonly key: string })[] = [];
      for (let index = 0; index + 2 < flat.length; index += 3) {
        entries.push({ key: flat[index] ?? '', value: JSON.parse(flat[index + 1] ?? 'null') as Value, revision: Number(flat[index + 2]) });
      }
      return entries;
    },
    put: (key, value, { expected, fencing }) => write('put', key, JSON.stringify(value), expected, fencing),
    async remove(key, { expected, fencing }) {
      await write('remove', key, '', expected, fencing);
    },
    async acquireLease(lease, holder, ttlMs) {
      const token = Number(await run(() => redis.eval(ACQUIRE, 2, `${root}:lease:${lease}`, `${root}:token:${lease}`, holder, ttlMs)));
      return token === 0 ? null : token;
    },
    async releaseLease(lease, holder) {
      await run(() => redis.eval(RELEASE, 1, `${root}:lease:${lease}`, holder));
    },
    async [Symbol.asyncDispose]() {
      redis.disconnect();
    },
  };
}

/**
 * Opens the state store of a mesh. Does not wait for Redis: what is asked while it is away is refused as UNAVAILABLE, which is also how lost
 * connections show when nobody listens to them.
 */
export async function connectRedisStore(
  url: string,
  meshName: string,
  onTrouble: (trouble: Error) => void = () => {},
): Promise<StateStore> {
  return createRedisStateStore({ url, prefix: meshName, onTrouble });
}

/** A Redis address as it may appear in a message. */
function redactPassword(url: string): string {
  return url.replace(/\/\/[^@/]*@/, '//');
}
