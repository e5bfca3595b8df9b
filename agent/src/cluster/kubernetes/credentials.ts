// Who we are to the API server, and how we know that it is the API server: read anew for every connection, because both change.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

export interface Credentials {
  /** PEM: whoever signed the server's certificate. Absent: the authorities that Node knows. */
  readonly ca?: string | Buffer
  readonly cert?: string | Buffer
  readonly key?: string | Buffer
  /** The name to look for in the server's certificate, if not the host of the URL. */
  readonly servername?: string
  readonly authorization?: string
}

export type ReadCredentials = () => Promise<Credentials>

/**
 * What Kubernetes mounts into every pod. The kubelet replaces the token long before it expires, and the authorities when they
 * change; two small files per request cost less than finding out when.
 */
export function serviceAccount(dir: string): ReadCredentials {
  return async () => {
    const [ca, token] = await Promise.all([
      readFile(join(dir, 'ca.crt')),
      readFile(join(dir, 'token'), 'utf8'),
    ])
    return { ca, authorization: `Bearer ${token.trim()}` }
  }
}
