// Gives addresses to attachments and takes them back; an answer is on disk before it is given.
import { join } from 'node:path'
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import {
  type Allocation,
  type AllocationRequest,
  type AttachmentKey,
  hostDeviceOf,
  keyText,
  type Sequence,
} from './allocation.ts'
import { matchAsked, requireAsked } from './asked.ts'
import { Counters } from './counters.ts'
import { type CrashPoint, noCrash } from './crash-point.ts'
import { DurableFolder } from './durable-folder.ts'
import type { Era } from './era.ts'
import { IpamError } from './errors.ts'
import { ReleaseHistory } from './history.ts'
import { Pool } from './pool.ts'
import { Quarantine, type Quarantined } from './quarantine.ts'
import { parseRange } from './range.ts'
import { decodeRecord, encodeRecord, formatRecordName, RecordError } from './record.ts'

export interface IpamOptions {
  /** The state directory; everything of ours is below it. */
  readonly dir: string
  readonly clock: Clock
  readonly log: Log
  /** Written into records, for whoever wants to know whether an attachment can have outlived a reboot. */
  readonly era?: Era
  readonly crashPoint?: CrashPoint
  /** Of the history of releases, before it is rewritten: for tests. */
  readonly historySlackLines?: number
}

export interface RangeUsage {
  readonly range: string
  /** How many addresses can be given. */
  readonly capacity: number
  readonly used: number
}

interface Folders {
  readonly state: DurableFolder
  readonly records: DurableFolder
  readonly quarantine: DurableFolder
}

interface Loaded {
  readonly folders: Folders
  readonly quarantine: Quarantine
  readonly counters: Counters
  readonly history: ReleaseHistory
  readonly allocations: readonly Allocation[]
}

export class Ipam {
  readonly #clock: Clock
  readonly #log: Log
  readonly #era: Era | undefined
  readonly #listeners = new Set<() => void>()
  readonly #folders: Folders
  readonly #quarantine: Quarantine
  readonly #counters: Counters
  readonly #history: ReleaseHistory
  readonly #allocations = new Map<string, Allocation>()
  readonly #endpointIds = new Set<number>()
  /**
   * Those whose record is being written, and those whose record could be neither finished nor taken back: a restart may find
   * it, so nobody else gets their addresses.
   */
  readonly #unsettled = new Map<string, Allocation>()
  /** Those whose removal failed after it took the record: it is written again before the same answer is given. */
  readonly #unsure = new Set<string>()
  /** The last operation of each key, so that those of one key come one after the other. */
  readonly #turns = new Map<string, Promise<unknown>>()
  #pools: readonly Pool[] = []

  private constructor({ clock, log, era }: IpamOptions, loaded: Loaded) {
    this.#clock = clock
    this.#era = era
    this.#log = log
    this.#folders = loaded.folders
    this.#quarantine = loaded.quarantine
    this.#counters = loaded.counters
    this.#history = loaded.history
    for (const allocation of loaded.allocations) this.#remember(allocation)
  }

  /** Reads every record. What cannot be read is set aside and reported, never guessed. @throws IpamError */
  static async open(options: IpamOptions): Promise<Ipam> {
    const { dir, crashPoint = noCrash } = options
    const folders = {
      state: await DurableFolder.open(dir, crashPoint),
      records: await DurableFolder.open(join(dir, 'allocations'), crashPoint),
      quarantine: await DurableFolder.open(join(dir, 'quarantine'), crashPoint),
    }
    const { quarantine } = await Quarantine.open(folders.quarantine, folders.records)
    const allocations = await readRecords(folders.records, quarantine, options.log)
    for (const { file, reason, addresses } of quarantine.list()) {
      options.log.error(
        { file: join(folders.quarantine.path, file), reason, addresses },
        'record set aside: its addresses stay out of use until its pod is deleted or the file is removed and the agent restarted',
      )
    }
    const counters = await Counters.open({
      folder: folders.state,
      now: options.clock.now(),
      highestIncarnation: Math.max(0, ...allocations.map(({ incarnation }) => incarnation)),
      highestEndpointId: Math.max(0, ...allocations.map(({ endpointId }) => endpointId)),
    })
    const history = await ReleaseHistory.open(folders.state, options.historySlackLines)
    return new Ipam(options, { folders, quarantine, counters, history, allocations })
  }

  get ranges(): readonly string[] {
    return this.#pools.map(({ range }) => range.text)
  }

  /**
   * Replaces the ranges, at most one per family; the order is that of the addresses in an answer. What was given from earlier
   * ones stays given. @throws IpamError range-invalid, and keeps the ranges it has
   */
  setRanges(texts: readonly string[]): void {
    const ranges = texts.map(parseRange)
    if (new Set(ranges.map(({ family }) => family)).size < ranges.length) {
      const list = texts.join(', ')
      throw new IpamError('range-invalid', `expected one range per family, found ${list}`)
    }
    const holders = [...this.#allocations.values(), ...this.#unsettled.values()]
    const taken = [
      ...holders.flatMap(({ addresses }) => addresses),
      ...this.#quarantine.addresses(),
    ]
    this.#pools = ranges.map((range) => new Pool(range, taken, this.#history.addresses()))
    this.#tell()
  }

  /** Calls back after each change of what is given or can be; returns what ends it. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * The same key gets the same addresses, also from ranges that have changed since. One address per range, those asked for among
   * them, or none at all; it is on disk, file and folder, when the promise resolves. @throws IpamError
   */
  allocate(request: AllocationRequest): Promise<Allocation> {
    return this.#inTurn(request.key, async () => {
      const id = keyText(request.key)
      const existing = this.#allocations.get(id)
      if (existing !== undefined) {
        requireAsked(request.addresses ?? [], existing.addresses)
        return await this.#renew(id, existing, request)
      }
      if (this.#quarantine.has(request.key)) {
        const message = `${id}: its record was damaged and set aside; delete the pod to settle it`
        throw new IpamError('record-corrupt', message)
      }
      const unsettled = this.#unsettled.get(id)
      if (unsettled !== undefined) await this.#withdraw(id, unsettled)
      return await this.#give(id, request)
    })
  }

  /** Gives back what the key holds and says what it was. An unknown key is no error. @throws IpamError */
  release(key: AttachmentKey): Promise<Allocation | undefined> {
    return this.#inTurn(key, async () => {
      const id = keyText(key)
      const unsettled = this.#unsettled.get(id)
      if (unsettled !== undefined) await this.#withdraw(id, unsettled)
      for (const address of await this.#quarantine.release(key)) this.#free(address)
      this.#tell()
      const allocation = this.#allocations.get(id)
      if (allocation === undefined) return undefined
      await this.#history.note(allocation.addresses).catch((error: unknown) => {
        this.#log.warn({ error }, 'the order of re-use is kept in memory only')
      })
      // On disk before anyone else gets the address: else a power cut could bring the old record back beside the new one.
      await this.#removeRecord(id, formatRecordName(allocation))
      this.#allocations.delete(id)
      this.#endpointIds.delete(allocation.endpointId)
      for (const address of allocation.addresses) this.#free(address)
      this.#tell()
      return allocation
    })
  }

  get(key: AttachmentKey): Allocation | undefined {
    return this.#allocations.get(keyText(key))
  }

  /** Of one network, or of all. */
  list(network?: string): Allocation[] {
    const all = [...this.#allocations.values()]
    return network === undefined ? all : all.filter(({ key }) => key.network === network)
  }

  /** Records set aside, with the addresses they keep out of use. */
  quarantined(): readonly Quarantined[] {
    return this.#quarantine.list()
  }

  usage(): readonly RangeUsage[] {
    return this.#pools.map(({ range, capacity, used }) => ({ range: range.text, capacity, used }))
  }

  async #give(id: string, request: AllocationRequest): Promise<Allocation> {
    const numbers = await this.#counters.next((endpointId) => this.#endpointIds.has(endpointId))
    const allocation: Allocation = Object.freeze({
      ...request,
      addresses: this.#take(request.addresses ?? []),
      ...numbers,
      hostDevice: hostDeviceOf(request.key),
      createdAt: new Date(this.#clock.now()).toISOString(),
      ...(this.#era === undefined ? {} : { era: this.#era }),
    })
    this.#unsettled.set(id, allocation)
    this.#endpointIds.add(allocation.endpointId)
    const name = formatRecordName(allocation)
    try {
      await this.#folders.records.write(name, encodeRecord(allocation), 'ipam.record')
    } catch (error) {
      await this.#withdraw(id, allocation).catch((withdrawal: unknown) => {
        this.#log.error({ key: id, error: withdrawal }, 'addresses stay out of use: disk unsure')
      })
      throw error
    }
    this.#allocations.set(id, allocation)
    this.#unsettled.delete(id)
    this.#tell()
    return allocation
  }

  /**
   * A later ADD of what is there: written down, because a DEL that began between the two must not undo it, because its namespace
   * may be another, and because a removal that failed half-way may have taken the record.
   */
  async #renew(id: string, existing: Allocation, request: AllocationRequest): Promise<Allocation> {
    const { sequence, netns } = request
    const isNewer = sequence !== undefined && isLater(sequence, existing.sequence)
    if (!isNewer && !this.#unsure.has(id)) return existing
    const era = this.#era === undefined ? {} : { era: this.#era }
    const renewed = Object.freeze({ ...existing, ...(isNewer ? { netns, sequence, ...era } : {}) })
    const name = formatRecordName(renewed)
    await this.#folders.records.write(name, encodeRecord(renewed), 'ipam.renewal')
    this.#unsure.delete(id)
    this.#allocations.set(id, renewed)
    return renewed
  }

  async #removeRecord(id: string, name: string): Promise<void> {
    const { records } = this.#folders
    try {
      await records.remove(name, 'ipam.record')
    } catch (error) {
      if (!records.has(name)) this.#unsure.add(id)
      throw error
    }
    this.#unsure.delete(id)
  }

  /** All families or none. */
  #take(askedFor: readonly string[]): readonly string[] {
    if (this.#pools.length === 0) {
      throw new IpamError(
        'no-range',
        'this node has no pod range yet: its Node object has no spec.podCIDRs, or has not been read',
      )
    }
    const asked = matchAsked(askedFor, this.#pools)
    const addresses: string[] = []
    for (const [index, pool] of this.#pools.entries()) {
      const address = asked[index] ?? pool.take()
      if (address === undefined) {
        for (const one of addresses) for (const other of this.#pools) other.putBack(one)
        const { range, capacity } = pool
        throw new IpamError(
          'pool-exhausted',
          `${range.text}: all ${capacity} addresses are in use; delete pods or give the node a larger range`,
        )
      }
      addresses.push(address)
    }
    // Last, when nothing can fail any more: what was given back earlier keeps its place in the line.
    for (const [index, pool] of this.#pools.entries()) {
      const address = asked[index]
      if (address !== undefined) pool.takeAsked(address)
    }
    return Object.freeze(addresses)
  }

  /** Makes certain that no record of a failed allocation is left, then forgets it. */
  async #withdraw(id: string, allocation: Allocation): Promise<void> {
    await this.#folders.records.remove(formatRecordName(allocation), 'ipam.withdrawal')
    this.#unsettled.delete(id)
    this.#endpointIds.delete(allocation.endpointId)
    for (const address of allocation.addresses)
      for (const pool of this.#pools) pool.putBack(address)
    this.#tell()
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener()
  }

  #free(address: string): void {
    for (const pool of this.#pools) pool.release(address)
  }

  #remember(allocation: Allocation): void {
    this.#allocations.set(keyText(allocation.key), Object.freeze(allocation))
    this.#endpointIds.add(allocation.endpointId)
  }

  #inTurn<T>(key: AttachmentKey, run: () => Promise<T>): Promise<T> {
    const id = keyText(key)
    const turn = (this.#turns.get(id) ?? Promise.resolve()).catch(() => undefined).then(run)
    this.#turns.set(id, turn)
    return turn.finally(() => {
      if (this.#turns.get(id) === turn) this.#turns.delete(id)
    })
  }
}

function isLater(one: Sequence, other: Sequence | undefined): boolean {
  return one.bootId !== other?.bootId || one.bootTimeUs > other.bootTimeUs
}

async function readRecords(
  records: DurableFolder,
  quarantine: Quarantine,
  log: Log,
): Promise<Allocation[]> {
  const allocations: Allocation[] = []
  const owners = new Map<string, string>()
  for (const name of await records.names()) {
    try {
      const allocation = decodeRecord(name, (await records.read(name)) ?? '')
      const rival = allocation.addresses.find((address) => owners.has(address))
      if (rival !== undefined) {
        throw new RecordError(`${rival} is also in the record ${owners.get(rival)}`)
      }
      for (const address of allocation.addresses) owners.set(address, name)
      allocations.push(allocation)
    } catch (error) {
      if (!(error instanceof RecordError)) throw error
      await quarantine.setAside(name, error, records)
      log.error({ record: name, reason: error.message }, 'record set aside')
    }
  }
  return allocations
}
