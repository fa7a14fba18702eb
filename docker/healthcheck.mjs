// node docker/healthcheck.mjs PORT [PATH]: exits 0 when the service on this container's PORT answers PATH (/readyz) with 200.
const [port = '8501', path = '/readyz'] = process.argv.slice(2);
try {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(4000) });
  if (response.status !== 200) console.error(`${path} answers ${response.status}: ${(await response.text()).slice(0, 200)}`);
  process.exitCode = response.status === 200 ? 0 : 1;
} catch (error) {
  console.error(`${path} on port ${port}: ${error.cause?.message ?? error.message}`);
  process.exitCode = 1;
}
