/** `tensorflow.serving.SSLConfig` (`--ssl_config_file`): TLS of the gRPC port. */
import { field, message, SCALAR } from './schema.ts';
import { parseText } from './text-format.ts';

/** The keys themselves in PEM, not their paths. */
export interface SslConfig {
  readonly serverKey: string;
  readonly serverCert: string;
  /** Certificates that clients' ones must chain to; empty: the system's. */
  readonly customCa: string;
  /** Clients must show a certificate. */
  readonly clientVerify: boolean;
}

const SSL_CONFIG = message('tensorflow.serving.SSLConfig', {
  server_key: field(1, SCALAR.string),
  server_cert: field(2, SCALAR.string),
  custom_ca: field(3, SCALAR.string),
  client_verify: field(4, SCALAR.bool),
});

/** Parses a file's text. Throws INVALID_ARGUMENT naming line, column and field. */
export function parseSslConfigText(text: string): SslConfig {
  const parsed = parseText(SSL_CONFIG, text);
  return { serverKey: parsed.server_key, serverCert: parsed.server_cert, customCa: parsed.custom_ca, clientVerify: parsed.client_verify };
}
