// Records that cannot be read: moved aside, reported, their addresses kept out of use until their attachment is released.
import { type Allocation, type AttachmentKey, keyDigest } from './allocation.ts'
import type { DurableFolder } from './durable-folder.ts'
import { decodeRecord, parseRecordName } from './record.ts'

/** A record set aside. Its addresses are what its name says; none if even that is unreadable. */
export interface Quarantined {
  readonly file: string
  readonly reason: string
  readonly addresses: readonly string[]
}

export class Quarantine {
  readonly #folder: DurableFolder
  readonly #files = new Map<string, Quarantined>()

  private constructor(folder: DurableFolder) {
    this.#folder = folder
  }

  /**
   * Reads what earlier runs set aside. A file that can be read today (a newer version had written it, a person mended it) is
   * moved back among the records and its allocation returned.
   */
  static async open(
    folder: DurableFolder,
    records: DurableFolder,
  ): Promise<{ quarantine: Quarantine; mended: Allocation[] }> {
    const quarantine = new Quarantine(folder)
    const mended: Allocation[] = []
    for (const name of await folder.names()) {
      try {
        const allocation = decodeRecord(name, (await folder.read(name)) ?? '')
        await folder.moveTo(records, name, name, 'ipam.mended')
        mended.push(allocation)
      } catch (error) {
        quarantine.#remember(name, error)
      }
    }
    return { quarantine, mended }
  }

  list(): readonly Quarantined[] {
    return [...this.#files.values()]
  }

  addresses(): string[] {
    return this.list().flatMap(({ addresses }) => addresses)
  }

  async setAside(name: string, reason: unknown, records: DurableFolder): Promise<Quarantined> {
    let free = name
    for (let copy = 1; this.#files.has(free); copy++) free = `${name}.${copy}`
    await records.moveTo(this.#folder, name, free, 'ipam.set-aside')
    return this.#remember(free, reason, name)
  }

  has(key: AttachmentKey): boolean {
    return this.#of(key).length > 0
  }

  /** The attachment is gone, so what was unreadable of it no longer matters; returns the addresses that are free now. */
  async release(key: AttachmentKey): Promise<string[]> {
    const freed: string[] = []
    for (const { file, addresses } of this.#of(key)) {
      await this.#folder.remove(file, 'ipam.quarantine')
      this.#files.delete(file)
      freed.push(...addresses)
    }
    return freed
  }

  #of(key: AttachmentKey): Quarantined[] {
    const digest = keyDigest(key)
    return this.list().filter(({ file }) => file.startsWith(`${digest}+`))
  }

  #remember(file: string, reason: unknown, recordName = file.replace(/\.\d+$/, '')): Quarantined {
    const quarantined = {
      file,
      reason: reason instanceof Error ? reason.message : String(reason),
      addresses: parseRecordName(recordName)?.addresses ?? [],
    }
    this.#files.set(file, quarantined)
    return quarantined
  }
}
