/**
 * The least that node:http can do: reads the body, answers a constant.
 *
 *     node bare-http.ts PORT
 */
import { createServer } from 'node:http';

const answer = Buffer.from('{"predictions": [2.5]}');
const server = createServer((request, response) => {
  request.resume();
  request.on('end', () => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': answer.length });
    response.end(answer);
  });
});
process.on('SIGTERM', () => {
  server.closeAllConnections();
  server.close(() => process.exit(0));
});
server.listen(Number(process.argv[2]), '127.0.0.1');
