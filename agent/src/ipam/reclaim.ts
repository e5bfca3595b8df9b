// Gives back what nobody will ever delete: seen gone twice, a grace time apart, and never on a guess (ADR 0037).
import { lstatSync, statfsSync } from 'node:fs'
import { dirname, isAbsolute } from 'node:path'
import type { Clock } from '../runtime/clock.ts'
import { codeOf, type Log } from '../runtime/log.ts'
import { type Allocation, type AttachmentKey, keyText, type Sequence } from './allocation.ts'
import { type Era, isOtherEra } from './era.ts'

/** What can be told of the namespace at a path. 'folder-gone': not even the place where it would be is there. */
export type NamespaceState = 'there' | 'gone' | 'folder-gone' | 'unknown'

export interface Sight {
  readonly isDeviceThere: boolean
  readonly namespace: NamespaceState
}

/**
 * Whether one look says that the attachment is gone for good. Its device is in the node's namespace and goes with the pod's, so
 * while it is there, the pod is. A path whose folder is missing proves something only after a reboot: before, it is as likely that
 * this process does not see the mount.
 */
export function looksGone({ era }: Allocation, now: Era, sight: Sight): boolean {
  if (sight.isDeviceThere) return false
  if (sight.namespace === 'gone') return true
  return sight.namespace === 'folder-gone' && isOtherEra(era, now)
}

/** `NSFS_MAGIC` of include/uapi/linux/magic.h. */
const NSFS_MAGIC = 0x6e736673

/** A file that is no namespace is what is left of one: `ip netns add` and runtimes mount on an empty file. */
export function lookAtNamespace(path: string): NamespaceState {
  if (!isAbsolute(path)) return 'unknown'
  try {
    return statfsSync(path).type === NSFS_MAGIC ? 'there' : 'gone'
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') return 'unknown'
  }
  try {
    return lstatSync(dirname(path)).isDirectory() ? 'gone' : 'unknown'
  } catch (error) {
    return codeOf(error) === 'ENOENT' ? 'folder-gone' : 'unknown'
  }
}

export interface ReclaimDeps {
  readonly ipam: { list(): readonly Allocation[] }
  readonly era: Era
  readonly clock: Clock
  readonly log: Log
  /** Names of all devices in the node's namespace. */
  devices(): Promise<ReadonlySet<string>>
  namespace(path: string): NamespaceState
  /** CLOCK_BOOTTIME. */
  bootTimeUs(): number
  /**
   * Removes it as a DEL would that began at `sequence`; says whether it did. An ADD that runs or began later keeps it.
   */
  remove(key: AttachmentKey, sequence: Sequence): Promise<boolean>
  readonly onReclaimed?: (allocation: Allocation) => void
  readonly graceMs?: number
}

interface FirstSight {
  readonly atMs: number
  readonly sequence: Sequence
  /** Another owner of the key starts anew. */
  readonly incarnation: number
}

export const RECLAIM_GRACE_MS = 60_000

export class Reclaim {
  readonly #deps: ReclaimDeps
  readonly #graceMs: number
  /** When each was first seen gone, without having been seen otherwise since. */
  readonly #gone = new Map<string, FirstSight>()

  constructor(deps: ReclaimDeps) {
    this.#deps = deps
    this.#graceMs = deps.graceMs ?? RECLAIM_GRACE_MS
  }

  /** Looks until the signal is aborted: hand it to a job. */
  async run(signal: AbortSignal, alive: () => void): Promise<void> {
    while (!signal.aborted) {
      await this.look()
      alive()
      // Twice within the grace time, so that a pod is reclaimed within one and a half of it.
      await this.#deps.clock.sleep(this.#graceMs / 2, signal)
    }
  }

  /** One look at everything. What cannot be seen now keeps what it holds. */
  async look(): Promise<void> {
    const { ipam, era, clock, bootTimeUs } = this.#deps
    // The time before the look: an ADD that begins during it is later.
    const sequence = { bootId: era.bootId, bootTimeUs: bootTimeUs() }
    const allocations = ipam.list()
    const devices = await this.#deps.devices()
    const gone = allocations.filter((one) => {
      const isDeviceThere = devices.has(one.hostDevice)
      const namespace = isDeviceThere ? 'unknown' : this.#deps.namespace(one.netns)
      return looksGone(one, era, { isDeviceThere, namespace })
    })
    const ids = new Set(gone.map(({ key }) => keyText(key)))
    for (const id of this.#gone.keys()) if (!ids.has(id)) this.#gone.delete(id)
    for (const allocation of gone) {
      const id = keyText(allocation.key)
      const first = this.#gone.get(id)
      if (first === undefined || first.incarnation !== allocation.incarnation) {
        const { incarnation } = allocation
        this.#gone.set(id, { atMs: clock.monotonicMs(), sequence, incarnation })
      } else if (clock.monotonicMs() - first.atMs >= this.#graceMs) {
        await this.#reclaim(id, allocation, first)
      }
    }
  }

  async #reclaim(id: string, allocation: Allocation, { sequence }: FirstSight): Promise<void> {
    const { log, remove, onReclaimed } = this.#deps
    this.#gone.delete(id)
    if (!(await remove(allocation.key, sequence))) return
    log.info({ attachment: id, addresses: allocation.addresses }, 'reclaimed: gone without a DEL')
    onReclaimed?.(allocation)
  }
}
