// Rows of the service maps, written and taken away: each call leaves maps that packets may meet, and the mirror says what they have.
import {
  type Backend as BackendRow,
  backend as backendCodec,
  type Service,
  type ServiceKey,
} from '@sinabro/libbpf-ts/layouts'
import { backendRow } from './backends.ts'
import { PROTOCOLS, type WantedHeader } from './compute.ts'
import type { Ids } from './ids.ts'
import { dropMembers, type ListWriterDeps, writeList } from './lists.ts'
import type { MapWriter } from './map-writer.ts'
import { addRange, type Header, type Mirror, type ServiceMaps } from './mirror.ts'
import type { Backend } from './rows.ts'
import { parseRange } from './source-ranges.ts'

export interface RowWriterDeps {
  readonly maps: ServiceMaps
  readonly writer: MapWriter
  readonly mirror: Mirror
  readonly backendIds: Ids
  /** After a backend or a header of UDP was taken away: flows of datagrams may have to move. */
  readonly onUdpGone?: (() => void) | undefined
}

export interface BackendsOf {
  readonly wanted: readonly Backend[]
  readonly proto: number
  readonly hasMembers: boolean
}

export class RowWriter {
  readonly #deps: RowWriterDeps
  readonly #lists: ListWriterDeps

  constructor(deps: RowWriterDeps) {
    this.#deps = deps
    const { writer, maps, mirror } = deps
    this.#lists = { writer, slots: maps.slots, lists: mirror.lists, backends: mirror.backends }
  }

  async writeList(id: number, { wanted, proto, hasMembers }: BackendsOf): Promise<void> {
    const hasLost = await writeList(this.#lists, id, await this.#idsOf(wanted, proto), hasMembers)
    if (hasLost && proto === PROTOCOLS.UDP) this.#deps.onUdpGone?.()
  }

  /** 0: it is in no map. */
  idOf(one: Backend, proto: number): number {
    return this.#deps.mirror.backends.find(backendCodec.encode(backendRow(one, proto)))
  }

  async removeList(id: number): Promise<void> {
    if (this.#deps.mirror.lists.has(id)) await writeList(this.#lists, id, [], false)
  }

  async dropMembers(id: number): Promise<void> {
    await dropMembers(this.#lists, id)
  }

  /** Those that are not as they should be; the owner's from now on. */
  async writeHeaders(
    owner: string,
    headers: readonly WantedHeader[],
    rowOf: (header: WantedHeader) => Service,
  ): Promise<void> {
    const { writer, maps, mirror } = this.#deps
    const rows = headers
      .map(({ name, key, ...header }) => ({ name, key, row: rowOf({ name, key, ...header }) }))
      .filter(({ name, row }) => !isSameHeader(mirror.headers.get(name)?.row, row))
    const isMoving = rows.some(({ name, key }) => isUdp(key) && mirror.headers.has(name))
    let at = 0
    await writer.put(
      maps.services,
      rows.map(({ key, row }) => [key, row] as const),
      ([key, row]) => {
        const name = rows[at++]?.name ?? ''
        mirror.headers.set(name, { key, row, owner })
      },
    )
    if (isMoving) this.#deps.onUdpGone?.()
  }

  async dropHeaders(names: readonly string[]): Promise<void> {
    const { writer, maps, mirror } = this.#deps
    const headers = names.flatMap((name) => mirror.headers.get(name) ?? [])
    await writer.drop(
      maps.services,
      headers.map(({ key }) => key),
    )
    for (const name of names) mirror.headers.delete(name)
    if (headers.some(({ key }) => isUdp(key))) this.#deps.onUdpGone?.()
  }

  async addRanges(service: number, ranges: readonly string[]): Promise<void> {
    const { writer, maps, mirror } = this.#deps
    const known = mirror.ranges.get(service)
    const news = ranges.filter((range) => known?.has(range) !== true)
    let at = 0
    await writer.put(
      maps.sourceRanges,
      news.map((range) => [parseRange(service, range), 1] as const),
      () => addRange(mirror.ranges, service, news[at++] ?? ''),
    )
  }

  async dropRanges(service: number, but: readonly string[] = []): Promise<void> {
    const { writer, maps, mirror } = this.#deps
    const known = mirror.ranges.get(service)
    if (known === undefined) return
    const going = [...known].filter((range) => !but.includes(range))
    // A trie has no batches.
    for (const range of going) {
      await writer.drop(maps.sourceRanges, [parseRange(service, range)])
      known.delete(range)
    }
    if (known.size === 0) mirror.ranges.delete(service)
  }

  /** Backends that no list has any more. */
  async dropIdle(): Promise<void> {
    const { writer, maps, mirror } = this.#deps
    const ids = [...mirror.backends.idle]
    await writer.drop(maps.backends, ids)
    for (const id of ids) mirror.backends.drop(id)
  }

  /** With a row in the map for each. */
  async #idsOf(wanted: readonly Backend[], proto: number): Promise<number[]> {
    const { writer, maps, mirror, backendIds } = this.#deps
    const { backends } = mirror
    const news = new Map<string, number>()
    const rows: [number, BackendRow][] = []
    const ids = wanted.map((one) => {
      const row = backendRow(one, proto)
      const bytes = backendCodec.encode(row)
      const name = `${one.address} ${one.port}`
      const known = backends.find(bytes) || news.get(name)
      if (known !== undefined) {
        const before = backends.bytesOf(known)
        if (before !== undefined && before.at(-1) !== row.flags) rows.push([known, row])
        return known
      }
      const id = backendIds.next((used) => backends.has(used))
      news.set(name, id)
      rows.push([id, row])
      return id
    })
    await writer.put(maps.backends, rows, ([id, row]) => backends.put(id, backendCodec.encode(row)))
    return ids
  }
}

function isUdp({ proto }: ServiceKey): boolean {
  return proto === PROTOCOLS.UDP
}

export function isSameHeader(one: Header['row'] | undefined, other: Service): boolean {
  return (
    one?.id === other.id &&
    one.flags === other.flags &&
    one.internal === other.internal &&
    one.external === other.external &&
    one.affinitySec === other.affinitySec
  )
}
