// Numbers of services and lists in the maps: which port of a Service has which, so that nobody gets another's, and none changes while it is there.
import type { WantedPort } from './compute.ts'
import { Ids } from './ids.ts'
import type { Mirror } from './mirror.ts'

/** What one port of a Service has in the maps. */
export interface Port {
  readonly key: string
  readonly id: number
  readonly internal: number
  /** 0: outside has the same. */
  external: number
  /** Names of rows that may be there. */
  headers: readonly string[]
}

const NONE = { id: 0, internal: 0 }

export class PortNumbers {
  readonly #mirror: Mirror
  readonly #ids: Readonly<Record<'service' | 'list', Ids>>
  /** Those that some port has. */
  readonly #taken = { services: new Set<number>(), lists: new Set<number>() }

  constructor(mirror: Mirror) {
    const { service, list } = mirror.highest
    this.#mirror = mirror
    this.#ids = { service: new Ids(service), list: new Ids(list) }
  }

  isService(id: number): boolean {
    return this.#taken.services.has(id)
  }

  isList(id: number): boolean {
    return this.#taken.lists.has(id)
  }

  dropService(id: number): void {
    this.#taken.services.delete(id)
  }

  dropList(id: number): void {
    this.#taken.lists.delete(id)
  }

  /** As an earlier agent left them, or new ones. */
  give(wanted: WantedPort): Port {
    const { services, lists } = this.#taken
    const left = this.#findLeft(wanted)
    const id = left?.id ?? this.#nextId()
    const internal = left?.internal ?? this.newList()
    const external = left?.external ?? 0
    services.add(id)
    lists.add(internal)
    if (external !== 0) lists.add(external)
    return { key: wanted.key, id, internal, external, headers: [] }
  }

  newList(): number {
    const { lists } = this.#taken
    const id = this.#ids.list.next((one) => lists.has(one) || this.#mirror.lists.has(one))
    lists.add(id)
    return id
  }

  /**
   * Of the row that has its cluster address, as nobody else has that one; its node port may be another's by now. Without a cluster
   * address of any of its rows, if nobody else's row leads there.
   */
  #findLeft({ headers }: WantedPort): Pick<Port, 'id' | 'internal' | 'external'> | undefined {
    const { services, lists } = this.#taken
    const { headers: known } = this.#mirror
    const left = headers.flatMap(({ name, isInternal }) => {
      const found = known.get(name)
      return found === undefined || found.owner !== undefined ? [] : [{ isInternal, ...found.row }]
    })
    const isOfCluster = headers.some(({ isInternal }) => isInternal)
    const { id, internal } = left.find((row) => row.isInternal === isOfCluster) ?? NONE
    if (id === 0 || services.has(id) || internal === 0 || lists.has(internal)) return undefined
    const ofOthers = (name: string): boolean => !headers.some((header) => header.name === name)
    const isShared = (): boolean =>
      known.entries().some(([name, { row }]) => row.id === id && ofOthers(name))
    if (!isOfCluster && isShared()) return undefined
    const other = left.find((row) => row.id === id && row.external !== internal)?.external ?? 0
    return { id, internal, external: lists.has(other) ? 0 : other }
  }

  #nextId(): number {
    return this.#ids.service.next((id) => this.#taken.services.has(id))
  }
}
