// Services in the maps, as a reconciler's target: headers last when they come, first when they go; a change costs what changed (ADR 0085).
import { setImmediate } from 'node:timers/promises'
import { SERVICE_NOT_NODE, SERVICE_SOURCE_RANGES, type Service } from '@sinabro/libbpf-ts/layouts'
import { type CrashPoint, noCrash } from '../ipam/crash-point.ts'
import type { Target } from '../state/target.ts'
import { computeAddresses, computePorts, type WantedHeader, type WantedPort } from './compute.ts'
import { HOST_PORT_KEY } from './host-ports.ts'
import { Ids } from './ids.ts'
import type { TableRow } from './maglev/target.ts'
import { MapFullError, MapWriter } from './map-writer.ts'
import { type Mirror, readMirror, type ServiceMaps } from './mirror.ts'
import { type Port, PortNumbers } from './port-numbers.ts'
import { repair } from './repair.ts'
import { RowWriter } from './row-writer.ts'
import type { ServiceRows } from './rows.ts'

export interface ServiceTargetDeps {
  readonly maps: ServiceMaps
  /** Told of each port whose backends have a table, once their rows are there, and when it has none any more. */
  readonly tables?: { want(row: TableRow): void; drop(service: number): void }
  readonly crashPoint?: CrashPoint
  /** Rows that a refresh looks at before others are written. */
  readonly partRows?: number
  /** The maps say all of it. */
  readonly onWritten?: (row: ServiceRows) => void
  /** Flows of datagrams may be with a backend, or ask a port, that is gone from the maps. */
  readonly onUdpGone?: () => void
}

export interface ActualService {
  readonly key: string
  readonly row: ServiceRows | undefined
}

interface Owned {
  readonly key: string
  ports: readonly Port[]
  addresses: readonly string[]
  /** As written last; undefined while that has not come to its end. */
  row: ServiceRows | undefined
}

/** Rows that no Service asks for. */
const LEFT_OVER: ActualService = { key: '', row: undefined }
/** The agent itself may live by it: where it last was is better than nowhere. */
const API_SERVER = 'default/kubernetes'
/** The loop has a turn after so long. */
const TURN_MS = 10
/** Flags that say who may not ask. */
const REFUSING = SERVICE_SOURCE_RANGES | SERVICE_NOT_NODE
const ADDRESS: Omit<Service, 'flags'> = { id: 0, internal: 0, external: 0, affinitySec: 0 }

export class ServiceTarget implements Target<ServiceRows, ActualService> {
  readonly name = 'services'
  readonly writer: MapWriter
  readonly #deps: ServiceTargetDeps
  readonly #owned = new Map<string, Owned>()
  #mirror: Mirror | undefined
  #numbers: PortNumbers | undefined
  #rows: RowWriter | undefined
  #turnAtMs = 0

  constructor(deps: ServiceTargetDeps) {
    this.#deps = deps
    this.writer = new MapWriter(deps.crashPoint ?? noCrash)
  }

  /** Rows in use. */
  get sizes(): Readonly<Record<'headers' | 'slots' | 'backends', number>> {
    let slots = 0
    for (const { ids, members } of this.#mirror?.lists.values() ?? []) {
      slots += ids.length + (ids.length > 0 ? 1 : 0) + (members?.size ?? 0)
    }
    const { headers, backends } = this.#mirror ?? {}
    return { headers: headers?.size ?? 0, slots, backends: backends?.size ?? 0 }
  }

  key({ key }: ServiceRows): string {
    return key
  }

  keyOf({ key }: ActualService): string {
    return key
  }

  isEqual(row: ServiceRows, actual: ActualService): boolean {
    return actual.row === row
  }

  /** At first what an earlier agent wrote, which nobody asks for yet. */
  async list(signal: AbortSignal): Promise<ActualService[]> {
    if (this.#mirror === undefined) {
      await this.#read(signal)
      return [LEFT_OVER]
    }
    return (await Array.fromAsync(this.listInParts(signal))).flat()
  }

  /** Mends what is not as it was written; what is known of a Service holds after that. */
  async *listInParts(signal: AbortSignal): AsyncGenerator<ActualService[], void, undefined> {
    const { maps, partRows } = this.#deps
    const { mirror } = this.#listed()
    const parts = { maps, writer: this.writer, mirror, signal }
    for await (const _ of repair(partRows === undefined ? parts : { ...parts, partRows })) yield []
    yield [...this.#owned.values().map(({ key, row }) => ({ key, row })), LEFT_OVER]
  }

  async #read(signal: AbortSignal): Promise<void> {
    const { maps, onUdpGone } = this.#deps
    const mirror = await readMirror(maps, signal)
    const backendIds = new Ids(mirror.highest.backend)
    this.#numbers = new PortNumbers(mirror)
    this.#rows = new RowWriter({ maps, writer: this.writer, mirror, backendIds, onUdpGone })
    this.#mirror = mirror
  }

  /** The maps say all of this very row. */
  has(row: ServiceRows): boolean {
    return this.#owned.get(row.key)?.row === row
  }

  async find(key: string): Promise<ActualService | undefined> {
    const owned = this.#owned.get(key)
    return owned === undefined ? undefined : { key, row: owned.row }
  }

  /** @throws MapFullError, or Error naming who else has one of its addresses: after writing all others */
  async update(row: ServiceRows): Promise<void> {
    await this.#turn()
    const { mirror, rows, numbers } = this.#listed()
    let owned = this.#owned.get(row.key)
    if (owned === undefined) {
      owned = { key: row.key, ports: [], addresses: [], row: undefined }
      this.#owned.set(row.key, owned)
    }
    owned.row = undefined
    const wanted = computePorts(row)
    const conflicts: string[] = []
    const claim = (header: WantedHeader): boolean => {
      const found = mirror.headers.get(header.name)
      if (found === undefined) return true
      found.owner ??= row.key
      if (isHostPort(found.owner) && !isHostPort(row.key)) {
        const loser = this.#owned.get(found.owner)
        if (loser !== undefined) loser.row = undefined
        found.owner = row.key
      }
      if (found.owner !== row.key) conflicts.push(`${header.name} is that of ${found.owner}`)
      return found.owner === row.key
    }
    const ports: [Port, WantedPort][] = []
    for (const port of wanted) {
      const before = owned.ports.find(({ key }) => key === port.key)
      const known = before ?? numbers.give(port)
      if (before === undefined) owned.ports = [...owned.ports, known]
      const headers = port.headers.filter(claim)
      known.headers = [...new Set([...known.headers, ...headers.map(({ name }) => name)])]
      ports.push([known, { ...port, headers }])
    }
    const addresses = computeAddresses(row).filter(claim)
    owned.addresses = [...new Set([...owned.addresses, ...addresses.map(({ name }) => name)])]
    let full: MapFullError | undefined
    const hasRoom = async (write: Promise<void>): Promise<boolean> => {
      try {
        await write
        return true
      } catch (error) {
        if (!(error instanceof MapFullError)) throw error
        full ??= error
        return false
      }
    }
    try {
      const later: [Port, WantedPort][] = []
      let isWhole = true
      for (const port of ports) {
        await hasRoom(this.#admit(owned, ...port))
        const isWritten = await hasRoom(this.#writePort(owned, ...port))
        isWhole &&= isWritten
        if (this.#hasLost(owned, ...port)) later.push(port)
        else if (isWritten) await this.#tidyPort(owned, ...port)
      }
      const written = rows.writeHeaders(row.key, addresses, ({ flags }) => ({ ...ADDRESS, flags }))
      if (await hasRoom(written)) {
        owned.addresses = await this.#keepHeaders(owned, owned.addresses, addresses)
      }
      // Else packets are still led where another of its ports is to be.
      if (isWhole) {
        const going = owned.ports.filter(({ key }) => !wanted.some((port) => port.key === key))
        for (const port of later) await this.#tidyPort(owned, ...port)
        for (const port of going) await this.#removePort(owned, port)
      }
    } finally {
      await rows.dropIdle()
    }
    if (full !== undefined) throw full
    if (conflicts.length > 0) throw new Error(conflicts.join('; '))
    owned.row = row
    this.#deps.onWritten?.(row)
  }

  async remove({ key }: ActualService): Promise<void> {
    if (key === LEFT_OVER.key) return await this.#removeLeftOvers()
    const owned = this.#owned.get(key)
    if (owned === undefined) return
    await this.#turn()
    owned.row = undefined
    const headers = owned.ports.flatMap((port) => port.headers)
    await this.#keepHeaders(owned, headers, [])
    for (const port of owned.ports) await this.#removePort(owned, port)
    await this.#keepHeaders(owned, owned.addresses, [])
    await this.#listed().rows.dropIdle()
    this.#owned.delete(key)
  }

  /** Before all else, lest somebody who may not ask goes on because there is no room: sources in ranges that have none are refused. */
  async #admit(owned: Owned, { id }: Port, { sourceRanges, headers }: WantedPort): Promise<void> {
    const { mirror, rows } = this.#listed()
    const refusing = headers.filter(({ flags }) => (flags & SERVICE_SOURCE_RANGES) !== 0)
    try {
      await rows.addRanges(id, sourceRanges)
    } finally {
      const there = refusing.filter(({ name }) => mirror.headers.has(name))
      await rows.writeHeaders(owned.key, there, ({ name, flags }) => {
        const before = mirror.headers.get(name)?.row ?? { ...ADDRESS, flags: 0 }
        return { ...before, flags: before.flags | (flags & REFUSING) }
      })
      if (refusing.length > 0) await rows.dropRanges(id, sourceRanges)
    }
  }

  async #writePort(owned: Owned, port: Port, wanted: WantedPort): Promise<void> {
    const { mirror, rows, numbers } = this.#listed()
    const { internal, external, proto, affinitySec, hasMembers, headers } = wanted
    const write = async (list: number, backends: WantedPort['internal']): Promise<void> => {
      const isKept = owned.key === API_SERVER && backends.length === 0
      if (isKept && mirror.lists.has(list)) return
      await rows.writeList(list, { wanted: backends, proto, hasMembers })
    }
    await write(port.internal, internal)
    if (external !== undefined) {
      if (port.external === 0) port.external = numbers.newList()
      await write(port.external, external)
    }
    this.#wantTable(port.id, wanted)
    const outside = external === undefined ? port.internal : port.external
    await rows.writeHeaders(owned.key, headers, ({ flags, isInternal }) => ({
      ...{ id: port.id, flags, affinitySec, internal: port.internal },
      external: isInternal ? port.internal : outside,
    }))
  }

  #wantTable(
    service: number,
    { key, isHashed, proto, internal, external = internal }: WantedPort,
  ): void {
    const { tables } = this.#deps
    if (!isHashed || external.length === 0) {
      tables?.drop(service)
      return
    }
    const { rows } = this.#listed()
    const names = new Map(
      external.map((one) => [rows.idOf(one, proto), `${one.address} ${one.port}`]),
    )
    const backends = Array.from(names, ([id, name]) => ({ id, name })).sort((a, b) => a.id - b.id)
    tables?.want({ service, port: key, backends })
  }

  /** Takes away headers that it has no more, and then what none leads to any more. */
  async #tidyPort(owned: Owned, port: Port, wanted: WantedPort): Promise<void> {
    const { rows } = this.#listed()
    const { external, hasMembers, sourceRanges, headers } = wanted
    port.headers = await this.#keepHeaders(owned, this.#ownHeaders(owned, port), headers)
    await rows.dropRanges(port.id, sourceRanges)
    if (external === undefined && port.external !== 0) {
      await this.#removeList(port.external)
      port.external = 0
    }
    if (hasMembers) return
    for (const list of [port.internal, port.external]) await rows.dropMembers(list)
  }

  /** Whether another port of the Service has one of its headers from now on: until that is written, packets are led here. */
  #hasLost(owned: Owned, port: Port, { headers }: WantedPort): boolean {
    const own = new Set(this.#ownHeaders(owned, port))
    return port.headers.some((one) => !own.has(one) && headers.every(({ name }) => name !== one))
  }

  /** Those that no other port of the Service may have by now. */
  #ownHeaders({ ports }: Owned, port: Port): string[] {
    const others = new Set(ports.flatMap((one) => (one === port ? [] : one.headers)))
    return port.headers.filter((name) => !others.has(name))
  }

  /** Takes away what is not among the wanted any more. */
  async #keepHeaders(
    { key }: Owned,
    names: readonly string[],
    wanted: readonly WantedHeader[],
  ): Promise<string[]> {
    const { mirror, rows } = this.#listed()
    const kept = new Set(wanted.map(({ name }) => name))
    const going = names.filter((name) => !kept.has(name))
    await rows.dropHeaders(going.filter((name) => mirror.headers.get(name)?.owner === key))
    return [...kept]
  }

  async #removePort(owned: Owned, port: Port): Promise<void> {
    await this.#keepHeaders(owned, this.#ownHeaders(owned, port), [])
    this.#deps.tables?.drop(port.id)
    await this.#listed().rows.dropRanges(port.id)
    for (const list of [port.internal, port.external]) await this.#removeList(list)
    this.#listed().numbers.dropService(port.id)
    owned.ports = owned.ports.filter((one) => one !== port)
  }

  async #removeList(id: number): Promise<void> {
    const { rows, numbers } = this.#listed()
    await rows.removeList(id)
    numbers.dropList(id)
  }

  async #removeLeftOvers(): Promise<void> {
    const { mirror, rows, numbers } = this.#listed()
    const nobodys = [...mirror.headers].filter(([, { owner }]) => owner === undefined)
    await rows.dropHeaders(nobodys.map(([name]) => name))
    for (const id of [...mirror.ranges.keys()])
      if (!numbers.isService(id)) await rows.dropRanges(id)
    for (const id of [...mirror.lists.keys()]) {
      await this.#turn()
      if (!numbers.isList(id)) await rows.removeList(id)
    }
    await rows.dropIdle()
  }

  #listed() {
    if (this.#mirror === undefined || this.#rows === undefined || this.#numbers === undefined) {
      throw new Error('services: nothing is written before the maps were read')
    }
    return { mirror: this.#mirror, rows: this.#rows, numbers: this.#numbers }
  }

  async #turn(): Promise<void> {
    if (performance.now() - this.#turnAtMs < TURN_MS) return
    await setImmediate()
    this.#turnAtMs = performance.now()
  }
}

/** What a Service asks for is never such a row's. */
function isHostPort(key: string): boolean {
  return key.startsWith(HOST_PORT_KEY)
}
