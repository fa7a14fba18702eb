/**
 * The least that node:http2 can do for gRPC: reads the message, answers a constant one with trailers.
 *
 *     node bare-http2.ts PORT
 */
import { createServer } from 'node:http2';

/** A gRPC frame around 30 bytes, about what a PredictResponse of one float takes. */
const answer = Buffer.concat([Buffer.of(0, 0, 0, 0, 30), Buffer.alloc(30)]);
const server = createServer();
server.on('stream', (stream) => {
  stream.on('error', () => {});
  stream.resume();
  stream.on('end', () => {
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.end(answer);
  });
});
server.on('sessionError', () => {});
process.on('SIGTERM', () => process.exit(0));
server.listen(Number(process.argv[2]), '127.0.0.1');
