import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';
import { createTelemetry } from '#mesh/telemetry.ts';
import { putLineVersion } from './line-models.ts';
import { startRunningMesh } from './running-mesh.ts';

test("a client's trace goes through every hop", async () => {
  const exporter = new InMemorySpanExporter();
  const telemetry = createTelemetry({
    service: 'test',
    logLevel: 'silent',
    otlpEndpoint: '',
    spanProcessor: new SimpleSpanProcessor(exporter),
  });
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  {
    await using mesh = await startRunningMesh({
      prepare: (folder) => putLineVersion(join(folder, 'line'), 1),
      config: (folder) => `model_config_list { config { name: "line" base_path: "${join(folder, 'line')}" model_platform: "onnx" } }`,
      telemetry,
    });
    const answer = await mesh.send('POST', '/v1/models/line:predict', '{"instances":[4]}', {
      traceparent: `00-${traceId}-b7ad6b7169203331-01`,
    });
    expect(answer.status).toBe(200);
  }
  const spans = exporter.getFinishedSpans().filter((span) => span.spanContext().traceId === traceId);
  const byName = new Map(spans.map((span) => [span.name, span]));
  expect([...byName.keys()].sort()).toEqual(['batcher.queue', 'predict', 'worker.batch']);
  const server = byName.get('predict');
  expect(server?.parentSpanContext?.spanId).toBe('b7ad6b7169203331');
  const below = [byName.get('batcher.queue'), byName.get('worker.batch')].map((span) => span?.parentSpanContext?.spanId);
  const known = new Set(spans.map((span) => span.spanContext().spanId));
  for (const parent of below) expect(known.has(parent ?? '')).toBe(true);
});
