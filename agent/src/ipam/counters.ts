// Numbers that must not come twice, across restarts too: reserved on disk in blocks before the first of a block is used (ADR 0032).
import type { DurableFolder } from './durable-folder.ts'
import { IpamError } from './errors.ts'

export interface CountersOptions {
  readonly folder: DurableFolder
  readonly now: number
  /** The highest found in records and set-aside files, 0 if none. */
  readonly highestIncarnation: number
  readonly highestEndpointId: number
}

const FILE = 'counters.json'
const VERSION = 1
const BLOCK = 256
const LAST_INCARNATION = 0xffffffff
/** More than a node of the largest ranges can have at once, small enough for a table indexed by it. */
export const LAST_ENDPOINT_ID = (1 << 20) - 1
/** Seconds from 1970 to 2020. */
const EPOCH_SEC = 1_577_836_800

interface Reserved {
  /** The first of each that no process may have used. */
  readonly incarnation: number
  readonly endpointId: number
}

export class Counters {
  readonly #folder: DurableFolder
  #reserved: Reserved
  #incarnation: number
  #endpointId: number
  #reserving: Promise<void> | undefined

  private constructor(folder: DurableFolder, start: Reserved) {
    this.#folder = folder
    this.#reserved = start
    this.#incarnation = start.incarnation
    this.#endpointId = start.endpointId
  }

  /**
   * Without a readable file it starts at the seconds since 2020: above whatever an earlier installation used, as long as that
   * one gave less than one address a second over its life. So a wiped state folder does not bring numbers back that the
   * kernel's maps still hold.
   */
  static async open(options: CountersOptions): Promise<Counters> {
    const { folder, now, highestIncarnation, highestEndpointId } = options
    const stored = decode(await folder.read(FILE))
    const counters = new Counters(folder, {
      incarnation: Math.max(
        stored?.incarnation ?? Math.floor(now / 1000) - EPOCH_SEC,
        highestIncarnation + 1,
        1,
      ),
      endpointId: stored?.endpointId ?? nextId(highestEndpointId),
    })
    await counters.#reserve()
    return counters
  }

  /** Never returns a number twice; `isTaken` keeps an endpoint id from a new owner while it has one. */
  async next(isTaken: (endpointId: number) => boolean): Promise<Reserved> {
    for (;;) {
      if (this.#incarnation < this.#reserved.incarnation) break
      if (this.#incarnation > LAST_INCARNATION) {
        throw new IpamError('incarnations-exhausted', 'every incarnation number was used')
      }
      this.#reserving ??= this.#reserve().finally(() => {
        this.#reserving = undefined
      })
      await this.#reserving
    }
    const incarnation = this.#incarnation++
    let endpointId = this.#endpointId
    while (isTaken(endpointId)) endpointId = nextId(endpointId)
    this.#endpointId = nextId(endpointId)
    return { incarnation, endpointId }
  }

  /** The block of endpoint ids starts anew with each block of incarnations, so one write covers both. */
  async #reserve(): Promise<void> {
    const next = {
      incarnation: Math.min(this.#incarnation + BLOCK, LAST_INCARNATION + 1),
      endpointId: ((this.#endpointId + BLOCK - 1) % LAST_ENDPOINT_ID) + 1,
    }
    const text = `${JSON.stringify({ version: VERSION, ...next })}\n`
    await this.#folder.write(FILE, text, 'ipam.counters')
    this.#reserved = next
  }
}

function nextId(id: number): number {
  return id >= LAST_ENDPOINT_ID ? 1 : id + 1
}

function decode(text: string | undefined): Reserved | undefined {
  if (text === undefined) return undefined
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined
  if (!('version' in parsed && 'incarnation' in parsed && 'endpointId' in parsed)) return undefined
  const { version, incarnation, endpointId } = parsed
  if (version !== VERSION || !isCount(incarnation) || !isCount(endpointId)) return undefined
  if (incarnation > LAST_INCARNATION + 1 || endpointId > LAST_ENDPOINT_ID) return undefined
  return { incarnation, endpointId }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1
}
