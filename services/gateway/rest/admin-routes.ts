/** Routes beyond TensorFlow Serving's: the list of models, health, metrics, and changes of the running configuration. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { fromUtf8 } from '#mesh/bytes.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import { parseModelConfigText } from '#proto/model-server-config.ts';
import { errorReply, jsonReply, type Reply, send } from './reply.ts';
import type { RestServerDeps } from './server.ts';

/** The largest configuration that may be sent. */
const MAX_CONFIG_BYTES = 4 * 1024 * 1024;
/** How long a new configuration may take until its models are available. */
const RELOAD_MS = 10 * 60_000;
const TEXT_TYPE = 'text/plain';
const NOT_FOUND_PAGE = '<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n';

/** Adds the routes; `isDraining` makes answers close their connections. */
export function addAdminRoutes(
  app: FastifyInstance,
  { core, telemetry, settings }: Pick<RestServerDeps, 'core' | 'telemetry' | 'settings'>,
  isDraining: () => boolean,
): void {
  /** Wraps a handler that returns its answer or throws a ServeError. */
  const answering =
    (handler: (request: FastifyRequest) => Reply | Promise<Reply>) => async (request: FastifyRequest, reply: FastifyReply) => {
      let answer: Reply;
      try {
        answer = await handler(request);
      } catch (caught) {
        const error = toServeError(caught);
        // A change that was based on another revision than the running one.
        answer = errorReply(error, error.code === 'ABORTED' && request.headers['if-match'] !== undefined ? 412 : undefined);
      }
      reply.hijack();
      send(reply.raw, answer, isDraining() || answer.headers?.Connection === 'close');
    };

  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: MAX_CONFIG_BYTES }, (_request, body, done) => done(null, body));
  app.setErrorHandler((error, _request, reply) => {
    const status = typeof (error as { statusCode?: unknown }).statusCode === 'number' ? (error as { statusCode: number }).statusCode : 500;
    reply.hijack();
    send(reply.raw, errorReply(toServeError(error), status), true);
  });
  app.setNotFoundHandler((_request, reply) => {
    reply.hijack();
    send(reply.raw, { status: 404, contentType: 'text/html', body: NOT_FOUND_PAGE }, true);
  });

  app.get(
    '/healthz',
    answering(() => textReply(200, 'ok\n')),
  );
  app.get(
    '/readyz',
    answering(() => readiness(core.ready() && !isDraining())),
  );
  app.get(
    '/v1/models',
    answering(() => {
      const models = core.models().map((name) => ({
        name,
        versions: core.status(name, undefined).map(({ version, state }) => ({ version: String(version), state })),
        labels: Object.fromEntries(Object.entries(core.labels(name)).map(([label, version]) => [label, String(version)])),
      }));
      return jsonReply(200, `${JSON.stringify({ models }, null, 1)}\n`);
    }),
  );
  app.get(
    '/v1/models/:model/ready',
    answering((request) => {
      const { model } = request.params as { readonly model: string };
      if (!core.models().includes(model)) throw new ServeError('NOT_FOUND', `Could not find any versions of model ${model}`);
      return readiness(core.modelReady(model));
    }),
  );
  const { metricsPath } = settings;
  if (metricsPath !== null) {
    app.get(
      metricsPath,
      answering(async (request) => {
        const path = request.raw.url ?? '';
        if (path !== metricsPath) return textReply(400, `Unexpected path: ${path}. Should be ${metricsPath}`);
        return textReply(200, await telemetry.metrics.metrics());
      }),
    );
  }

  app.get(
    '/v1/config',
    answering(async () => configReply(await core.readConfig())),
  );
  app.put(
    '/v1/config/models/:model',
    answering(async (request) => {
      const { model } = request.params as { readonly model: string };
      const text = bodyText(request);
      const { name } = parseModelConfigText(text);
      if (name !== model) {
        throw new ServeError(
          'INVALID_ARGUMENT',
          `the ModelConfig in the body names ${name === '' ? 'no model' : `"${name}"`}, the path names "${model}"`,
        );
      }
      return configReply(await core.putModel(text, expectedRevision(request), RELOAD_MS));
    }),
  );
  app.delete(
    '/v1/config/models/:model',
    answering(async (request) => {
      const { model } = request.params as { readonly model: string };
      return configReply(await core.removeModel(model, expectedRevision(request)));
    }),
  );
  app.post(
    '/v1/config::reload',
    answering(async (request) => {
      await core.reload(bodyText(request), RELOAD_MS);
      return configReply(await core.readConfig());
    }),
  );
}

function textReply(status: number, body: string): Reply {
  return { status, contentType: TEXT_TYPE, body };
}

function readiness(isReady: boolean): Reply {
  return isReady ? textReply(200, 'ready\n') : { ...textReply(503, 'not ready\n'), headers: { 'Retry-After': '1' } };
}

function configReply(config: { readonly configText: string; readonly revision: number }): Reply {
  return { ...textReply(200, config.configText), headers: { ETag: `"${config.revision}"` } };
}

function bodyText(request: FastifyRequest): string {
  return request.body instanceof Uint8Array ? fromUtf8(request.body) : '';
}

/** The revision of If-Match (an ETag, or the bare number); null without one, or for `*`. */
function expectedRevision(request: FastifyRequest): number | null {
  const header = request.headers['if-match'];
  if (header === undefined || header.trim() === '*') return null;
  const match = /^\s*(?:W\/)?"?(\d{1,15})"?\s*$/.exec(header);
  if (match === null) throw new ServeError('INVALID_ARGUMENT', `If-Match: "${header}" is not the ETag of a configuration`);
  return Number(match[1]);
}
