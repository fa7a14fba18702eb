import { type Agent, request } from 'node:http';

/** What a client of the model `line` (`line-models.ts`) got. */
export interface LineAnswer {
  readonly status: number;
  /** The version that says it answered. */
  readonly version: number;
  /** y; undefined unless the status is 200. */
  readonly value: number | undefined;
  readonly body: string;
}

/** Asks `line` for y at x over REST. Rejects when the connection breaks. */
export function askLine(agent: Agent, port: number, x: number): Promise<LineAnswer> {
  const body = `{"instances":[${x}]}`;
  const headers = { 'content-length': body.length };
  return new Promise((resolve, reject) => {
    const asked = request({ agent, port, host: '127.0.0.1', method: 'POST', path: '/v1/models/line:predict', headers }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        const status = response.statusCode ?? 0;
        const value = status === 200 ? (JSON.parse(text) as { predictions: number[] }).predictions[0] : undefined;
        resolve({ status, version: Number(response.headers['x-headrace-model-version']), value, body: text });
      });
    });
    asked.on('error', reject);
    asked.end(body);
  });
}
