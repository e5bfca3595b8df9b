// Gives addresses to attachments and takes them back; an answer is on disk before it is given.
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
import { requireAsked } from './asked.ts'
import type { Era } from './era.ts'
import { IpamError } from './errors.ts'
import { type IpamOptions, load, type Store } from './load.ts'
import { Pools, type RangeUsage } from './pools.ts'
import type { Quarantined } from './quarantine.ts'
import { encodeRecord, formatRecordName } from './record.ts'

export type { RangeUsage } from './pools.ts'

/** An allocation whose record is on its way to the disk. */
export interface Begun {
  readonly allocation: Allocation
  /** Resolves when it is there, file and folder. Whoever hears of the allocation hears of it after that. */
  readonly stored: Promise<void>
}

export class Ipam {
  readonly #clock: Clock
  readonly #log: Log
  readonly #era: Era | undefined
  readonly #listeners = new Set<() => void>()
  readonly #store: Store
  readonly #pools = new Pools()
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

  private constructor(
    { clock, log, era }: IpamOptions,
    { allocations, ...store }: Awaited<ReturnType<typeof load>>,
  ) {
    this.#clock = clock
    this.#era = era
    this.#log = log
    this.#store = store
    for (const allocation of allocations) {
      this.#allocations.set(keyText(allocation.key), Object.freeze(allocation))
      this.#endpointIds.add(allocation.endpointId)
    }
  }

  /** Reads every record. What cannot be read is set aside and reported, never guessed. @throws IpamError */
  static async open(options: IpamOptions): Promise<Ipam> {
    return new Ipam(options, await load(options))
  }

  get ranges(): readonly string[] {
    return this.#pools.ranges
  }

  /**
   * Replaces the ranges, at most one per family; the order is that of the addresses in an answer. What was given from earlier
   * ones stays given. @throws IpamError range-invalid, and keeps the ranges it has
   */
  setRanges(texts: readonly string[]): void {
    const { quarantine, history } = this.#store
    const holders = [...this.#allocations.values(), ...this.#unsettled.values()]
    const taken = holders.flatMap(({ addresses }) => addresses)
    this.#pools.replace(texts, [...taken, ...quarantine.addresses()], () => history.addresses())
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
  async allocate(request: AllocationRequest): Promise<Allocation> {
    const { allocation, stored } = await this.begin(request)
    try {
      await stored
    } catch (error) {
      await this.#inTurn(request.key, () => this.#settle(keyText(request.key))).catch(
        (unsure: unknown) => {
          const key = keyText(request.key)
          this.#log.error({ key, error: unsure }, 'addresses stay out of use: disk unsure')
        },
      )
      throw error
    }
    return allocation
  }

  /**
   * The same, before it is on disk, for work that nobody notices until then (ADR 0048). When `stored` rejects, what was begun keeps
   * its addresses until `release`, which the caller owes once that work is undone. @throws IpamError
   */
  begin(request: AllocationRequest): Promise<Begun> {
    const { promise, resolve, reject } = Promise.withResolvers<Begun>()
    this.#inTurn(request.key, async () => {
      const begun = await this.#begin(keyText(request.key), request)
      resolve(begun)
      // The key's next turn comes after the disk's; a failure is the caller's to hear.
      await begun.stored.catch(() => undefined)
    }).catch(reject)
    return promise
  }

  /** Gives back what the key holds and says what it was. An unknown key is no error. @throws IpamError */
  release(key: AttachmentKey): Promise<Allocation | undefined> {
    return this.#inTurn(key, async () => {
      const { quarantine, history } = this.#store
      const id = keyText(key)
      await this.#settle(id)
      this.#pools.release(await quarantine.release(key))
      this.#tell()
      const allocation = this.#allocations.get(id)
      if (allocation === undefined) return undefined
      await history.note(allocation.addresses).catch((error: unknown) => {
        this.#log.warn({ error }, 'the order of re-use is kept in memory only')
      })
      // On disk before anyone else gets the address: else a power cut could bring the old record back beside the new one.
      await this.#removeRecord(id, formatRecordName(allocation))
      this.#allocations.delete(id)
      this.#endpointIds.delete(allocation.endpointId)
      this.#pools.release(allocation.addresses)
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
    return this.#store.quarantine.list()
  }

  usage(): readonly RangeUsage[] {
    return this.#pools.usage()
  }

  async #begin(id: string, request: AllocationRequest): Promise<Begun> {
    const existing = this.#allocations.get(id)
    if (existing !== undefined) {
      requireAsked(request.addresses ?? [], existing.addresses)
      return this.#renew(id, existing, request)
    }
    if (this.#store.quarantine.has(request.key)) {
      const message = `${id}: its record was damaged and set aside; delete the pod to settle it`
      throw new IpamError('record-corrupt', message)
    }
    await this.#settle(id)
    return await this.#give(id, request)
  }

  async #give(id: string, request: AllocationRequest): Promise<Begun> {
    const { counters, records } = this.#store
    const numbers = await counters.next((endpointId) => this.#endpointIds.has(endpointId))
    const allocation: Allocation = Object.freeze({
      ...request,
      addresses: this.#pools.take(request.addresses ?? []),
      ...numbers,
      hostDevice: hostDeviceOf(request.key),
      createdAt: new Date(this.#clock.now()).toISOString(),
      ...(this.#era === undefined ? {} : { era: this.#era }),
    })
    this.#unsettled.set(id, allocation)
    this.#endpointIds.add(allocation.endpointId)
    const written = records.write(
      formatRecordName(allocation),
      encodeRecord(allocation),
      'ipam.record',
    )
    const stored = written.then(() => {
      this.#allocations.set(id, allocation)
      this.#unsettled.delete(id)
      this.#tell()
    })
    return { allocation, stored }
  }

  /**
   * A later ADD of what is there: written down, because a DEL that began between the two must not undo it, because its namespace
   * may be another, and because a removal that failed half-way may have taken the record.
   */
  #renew(id: string, existing: Allocation, request: AllocationRequest): Begun {
    const { sequence, netns, netnsCookie } = request
    const isNewer = sequence !== undefined && isLater(sequence, existing.sequence)
    if (!isNewer && !this.#unsure.has(id)) {
      return { allocation: existing, stored: Promise.resolve() }
    }
    const { netnsCookie: _, ...rest } = existing
    const place = netnsCookie === undefined ? { netns } : { netns, netnsCookie }
    const era = this.#era === undefined ? {} : { era: this.#era }
    const renewed = Object.freeze(isNewer ? { ...rest, ...place, sequence, ...era } : existing)
    const { records } = this.#store
    const written = records.write(formatRecordName(renewed), encodeRecord(renewed), 'ipam.renewal')
    const stored = written.then(() => {
      this.#unsure.delete(id)
      this.#allocations.set(id, renewed)
    })
    return { allocation: renewed, stored }
  }

  async #removeRecord(id: string, name: string): Promise<void> {
    const { records } = this.#store
    try {
      await records.remove(name, 'ipam.record')
    } catch (error) {
      if (!records.has(name)) this.#unsure.add(id)
      throw error
    }
    this.#unsure.delete(id)
  }

  /** Makes certain that no record of an allocation that failed is left, then forgets it. */
  async #settle(id: string): Promise<void> {
    const allocation = this.#unsettled.get(id)
    if (allocation === undefined) return
    await this.#store.records.remove(formatRecordName(allocation), 'ipam.withdrawal')
    this.#unsettled.delete(id)
    this.#endpointIds.delete(allocation.endpointId)
    this.#pools.putBack(allocation.addresses)
    this.#tell()
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener()
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
