// Which Services get Maglev tables: all of them together cost a node no more kernel memory than it was told, and one alone not all of that.
// The older ones have theirs, the same on every node; the others' backends are chosen by chance. ADR 0105.
import type { EndpointSliceRow, ServicePortRow, ServiceRow } from '../cluster/rows.ts'
import { tableBytes } from './maglev/table.ts'
import { familiesOf, familyOf } from './model-frontends.ts'

/** For each row that --services-max makes room for: 64 MiB by default. */
export const TABLE_BYTES_OF_ROW = 512
const DEFAULT_BYTES = 131_072 * TABLE_BYTES_OF_ROW
/** Of all, what one Service may have. */
const SHARE = 1 / 4
const MIB = 2 ** 20

interface Asking {
  readonly key: string
  readonly createdAt: string
  readonly bytes: number
}

export class TableBudget {
  readonly #mostBytes: number
  readonly #asking = new Map<string, Asking>()
  #bytes = 0
  /** Why, in words. */
  #refused: ReadonlyMap<string, string> = new Map()
  #isSettled = true

  constructor(mostBytes: number = DEFAULT_BYTES) {
    this.#mostBytes = mostBytes
  }

  /** What a Service asks for from now on. It counts with settle(). */
  set(key: string, createdAt: string, bytes: number): void {
    const before = this.#asking.get(key)
    if ((before?.bytes ?? 0) === bytes && (before?.createdAt ?? createdAt) === createdAt) return
    this.#bytes += bytes - (before?.bytes ?? 0)
    if (bytes === 0) this.#asking.delete(key)
    else this.#asking.set(key, { key, createdAt, bytes })
    this.#isSettled = false
  }

  /** @returns Services of which something else holds by now */
  settle(): Set<string> {
    if (this.#isSettled) return new Set()
    this.#isSettled = true
    const before = this.#refused
    this.#refused = this.#judge()
    const keys = new Set([...before.keys(), ...this.#refused.keys()])
    return new Set([...keys].filter((key) => before.get(key) !== this.#refused.get(key)))
  }

  /** Why it has no tables, in words; undefined if it has. */
  shortage(key: string): string | undefined {
    return this.#refused.get(key)
  }

  #judge(): Map<string, string> {
    const refused = new Map<string, string>()
    const mostOfOne = this.#mostBytes * SHARE
    if (this.#bytes <= mostOfOne) return refused
    let left = this.#mostBytes
    for (const { key, bytes } of [...this.#asking.values()].sort(byAge)) {
      if (bytes > mostOfOne) refused.set(key, tooLarge(bytes, mostOfOne))
      else if (bytes > left) refused.set(key, noRoom(bytes, this.#mostBytes))
      else left -= bytes
    }
    return refused
  }
}

/** The most that a node can need for it: all endpoints count, so that nodes agree, and nothing changes when one is ready. */
export function tableBytesOf(service: ServiceRow, slices: readonly EndpointSliceRow[]): number {
  let bytes = 0
  for (const family of familiesOf(service)) {
    const ports = service.ports.filter((port) => isSeenOutside(service, port, family))
    if (ports.length === 0) continue
    const endpoints = countEndpoints(family, slices)
    for (const port of ports) bytes += tableBytes(endpoints.get(nameOf(port)) ?? 0)
  }
  return bytes
}

function isSeenOutside(
  { externalIPs, ingress }: ServiceRow,
  { protocol, nodePort }: ServicePortRow,
  family: 4 | 6,
): boolean {
  if (protocol === 'SCTP') return false
  const isOfFamily = (address: string): boolean => familyOf(address) === family
  return (
    nodePort !== undefined ||
    externalIPs.some(isOfFamily) ||
    ingress.some(({ ip }) => isOfFamily(ip))
  )
}

function countEndpoints(
  family: 4 | 6,
  slices: readonly EndpointSliceRow[],
): ReadonlyMap<string, number> {
  const addressTypeOf = { 4: 'IPv4', 6: 'IPv6' } as const
  const counts = new Map<string, number>()
  for (const { addressType, ports, endpoints } of slices) {
    if (addressType !== addressTypeOf[family]) continue
    for (const name of new Set(ports.map(nameOf))) {
      counts.set(name, (counts.get(name) ?? 0) + endpoints.length)
    }
  }
  return counts
}

function nameOf({ name, protocol }: { readonly name: string; readonly protocol: string }): string {
  return `${name}/${protocol}`
}

function byAge(a: Asking, b: Asking): number {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? -1 : 1
  return a.key < b.key ? -1 : 1
}

function tooLarge(bytes: number, most: number): string {
  return `Maglev tables for all of its ports would take ${mib(bytes)}, of at most ${mib(most)} for one Service; make several Services of it, or raise --services-max on all nodes`
}

function noRoom(bytes: number, most: number): string {
  return `its Maglev tables would take ${mib(bytes)}, and older Services have most of the ${mib(most)} that there are; raise --services-max on all nodes, or ask for fewer tables`
}

function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`
}
