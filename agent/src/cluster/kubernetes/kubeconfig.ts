// Reads a kubeconfig by Kubernetes' own library, for agents outside of a pod; built as a part of its own and loaded only then (ADR 0065).
import type { RequestOptions } from 'node:https'
import { KubeConfig } from '@kubernetes/client-node'
import type { Credentials, ReadCredentials } from './credentials.ts'

export interface KubeconfigUser {
  readonly server: string
  readonly credentials: ReadCredentials
}

/** Of the current context. @throws if the file is not there or names no cluster */
export function readKubeconfig(file: string): KubeconfigUser {
  const config = new KubeConfig()
  config.loadFromFile(file)
  const cluster = config.getCurrentCluster()
  if (cluster === null) throw new Error(`${file}: current-context names no cluster`)
  if (cluster.skipTLSVerify) {
    throw new Error(`${file}: insecure-skip-tls-verify is refused; give the certificate authority`)
  }
  return { server: cluster.server, credentials: () => credentialsOf(config) }
}

/** The library reads files of certificates, and runs what the user's `exec` names, each time it is asked. */
async function credentialsOf(config: KubeConfig): Promise<Credentials> {
  const options: RequestOptions = { headers: {} }
  await config.applyToHTTPSOptions(options)
  const { ca, cert, key, servername, auth } = options
  const { Authorization: header } = (options.headers ?? {}) as Record<string, unknown>
  const authorization =
    typeof header === 'string'
      ? header
      : typeof auth === 'string'
        ? `Basic ${Buffer.from(auth).toString('base64')}`
        : undefined
  return {
    ...(isPem(ca) ? { ca } : {}),
    ...(isPem(cert) ? { cert } : {}),
    ...(isPem(key) ? { key } : {}),
    ...(servername === undefined ? {} : { servername }),
    ...(authorization === undefined ? {} : { authorization }),
  }
}

function isPem(value: unknown): value is string | Buffer {
  return typeof value === 'string' || Buffer.isBuffer(value)
}
