import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { ServeError } from '#mesh/errors.ts';
import { parseSslConfigText } from '#proto/ssl-config.ts';
import type { GrpcTls } from './port.ts';

/**
 * The credentials of the gRPC port; null: no TLS. Throws INVALID_ARGUMENT when both TLS and ALTS are asked for, with TensorFlow Serving's text,
 * and when the file cannot be read or used.
 */
export function serverTls(settings: { readonly sslConfigFile: string; readonly useAltsCredentials: boolean }): GrpcTls | null {
  const { sslConfigFile, useAltsCredentials } = settings;
  if (sslConfigFile === '') return null;
  if (useAltsCredentials) {
    throw new ServeError('INVALID_ARGUMENT', 'Either use_alts_credentials must be false or ssl_config_file must be empty.');
  }
  let text: string;
  try {
    text = readFileSync(sslConfigFile, 'utf8');
  } catch (caught) {
    throw new ServeError('INVALID_ARGUMENT', `ssl_config_file ${sslConfigFile} cannot be read`, { cause: caught });
  }
  const { serverKey, serverCert, customCa, clientVerify } = parseSslConfigText(text);
  const tls: GrpcTls = {
    key: Buffer.from(serverKey),
    cert: Buffer.from(serverCert),
    ca: customCa === '' ? null : Buffer.from(customCa),
    requestCert: clientVerify,
  };
  try {
    const { key, cert, ca } = tls;
    createSecureContext({ key, cert, ...(ca === null ? {} : { ca }) });
  } catch (caught) {
    throw new ServeError('INVALID_ARGUMENT', `ssl_config_file ${sslConfigFile} holds no usable key and certificate`, { cause: caught });
  }
  return tls;
}
