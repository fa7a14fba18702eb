/**
 * The least that node:http can do: reads the body, answers a constant. With a rate, answers wait until they are due.
 *
 *     node bare-http.ts PORT [ANSWERS_PER_SECOND]
 */
import { createServer, type ServerResponse } from 'node:http';

const [port, ratePerSecond = '0'] = process.argv.slice(2);
const rate = Number(ratePerSecond);
const answer = Buffer.from('{"predictions": [2.5]}');
/** Requests that wait for their turn, when there is a rate. */
const waiting: ServerResponse[] = [];

function send(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': answer.length });
  response.end(answer);
}

const server = createServer((request, response) => {
  request.resume();
  request.on('end', () => {
    if (rate > 0) waiting.push(response);
    else send(response);
  });
});

if (rate > 0) {
  let lastMs = performance.now();
  let due = 0;
  setInterval(() => {
    const nowMs = performance.now();
    // Turns that nobody was there to take are gone.
    due = Math.min(due + ((nowMs - lastMs) * rate) / 1000, waiting.length + 1);
    lastMs = nowMs;
    for (; due >= 1; due--) {
      const response = waiting.shift();
      if (response === undefined) break;
      send(response);
    }
  }, 2);
}

process.on('SIGTERM', () => {
  server.closeAllConnections();
  server.close(() => process.exit(0));
});
server.listen(Number(port), '127.0.0.1');
