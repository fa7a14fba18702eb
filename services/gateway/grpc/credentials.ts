import { readFileSync } from 'node:fs';
import { ServerCredentials } from '@grpc/grpc-js';
import { ServeError } from '#mesh/errors.ts';
import { parseSslConfigText } from '#proto/ssl-config.ts';

/**
 * The credentials of the gRPC port. Throws INVALID_ARGUMENT when both TLS and ALTS are asked for, with TensorFlow Serving's text, and when
 * the file cannot be read or used.
 */
export function serverCredentials(settings: { readonly sslConfigFile: string; readonly useAltsCredentials: boolean }): ServerCredentials {
  const { sslConfigFile, useAltsCredentials } = settings;
  if (sslConfigFile === '') return ServerCredentials.createInsecure();
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
  try {
    return ServerCredentials.createSsl(
      customCa === '' ? null : Buffer.from(customCa),
      [{ private_key: Buffer.from(serverKey), cert_chain: Buffer.from(serverCert) }],
      clientVerify,
    );
  } catch (caught) {
    throw new ServeError('INVALID_ARGUMENT', `ssl_config_file ${sslConfigFile} holds no usable key and certificate`, { cause: caught });
  }
}
