// Which backend a client from outside gets of a service that chooses by consistent hashing: read of the table that packets meet.
import { BpfMap, u32 } from '@sinabro/libbpf-ts'
import { SERVICE_AFFINITY, SERVICE_MAGLEV, type Service } from '@sinabro/libbpf-ts/layouts'
import { maglevBackend, maglevHash } from '@sinabro/libbpf-ts/maglev'

export interface HashedClient {
  readonly address: string
  /** Absent: not said. */
  readonly port?: number
  readonly servicePort: number
  readonly proto: number
}

/** Its id; 'by port': that decides, and it is not said; undefined: by chance, as without a table. */
export function hashedBackend(
  tables: BpfMap,
  { id, flags }: Service,
  { port: said, ...client }: HashedClient,
): number | 'by port' | undefined {
  if ((flags & SERVICE_MAGLEV) === 0) return undefined
  const value = tables.lookup(u32.encode(id))
  if (value === undefined) return undefined
  const port = (flags & SERVICE_AFFINITY) === 0 ? said : 0
  if (port === undefined) return 'by port'
  using table = BpfMap.openId(u32.decode(value))
  const found = maglevBackend(
    (row) => table.lookup(u32.encode(row)),
    maglevHash({ ...client, port }),
  )
  return found === 0 ? undefined : found
}
