// Gives addresses to attachments and takes them back; an answer is on disk before it is given.
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import type { Allocation, AllocationRequest, AttachmentKey } from './allocation.ts'
import type { CrashPoint } from './crash-point.ts'

export interface IpamOptions {
  /** The state directory; records live in `allocations/` below it. */
  readonly dir: string
  readonly clock: Clock
  readonly log: Log
  readonly crashPoint?: CrashPoint
}

/** A record that could not be read: set aside, its addresses kept from use until a person or its DEL settles it. */
export interface Quarantined {
  readonly file: string
  readonly reason: string
  readonly addresses: readonly string[]
}

export interface RangeUsage {
  readonly range: string
  /** How many addresses can be given. */
  readonly capacity: number
  readonly used: number
}

export class Ipam {
  static open(options: IpamOptions): Promise<Ipam> {
    throw new Error(`not yet: ${options.dir}`)
  }

  /** Replaces the ranges, one per family at most. What was given from earlier ones stays given. @throws IpamError range-invalid */
  setRanges(_ranges: readonly string[]): void {
    throw new Error('not yet')
  }

  get ranges(): readonly string[] {
    throw new Error('not yet')
  }

  /** The same key gets the same answer. One address per range, or none at all. @throws IpamError */
  allocate(_request: AllocationRequest): Promise<Allocation> {
    throw new Error('not yet')
  }

  /** Gives back what the key holds; says what it was. An unknown key is no error. @throws IpamError */
  release(_key: AttachmentKey): Promise<Allocation | undefined> {
    throw new Error('not yet')
  }

  get(_key: AttachmentKey): Allocation | undefined {
    throw new Error('not yet')
  }

  list(): Allocation[] {
    throw new Error('not yet')
  }

  quarantined(): readonly Quarantined[] {
    throw new Error('not yet')
  }

  usage(): readonly RangeUsage[] {
    throw new Error('not yet')
  }
}
