// Qdiscs and classes that hold traffic back to a rate, as this package shows them: tbf alone, htb with classes.

/** Token bucket: sends at `rateBitsPerSec`, after a pause up to `burstBytes` at once; more waits, and what is too much is dropped. */
export interface TbfOptions {
  readonly rateBitsPerSec: number
  /** At least the longest packet, which with offloads is 64 KiB. */
  readonly burstBytes: number
  /** How much may wait. */
  readonly limitBytes: number
}

export interface HtbOptions {
  /** Minor number of the class for what no filter sends elsewhere; 0, or one that is not there: past all classes, unshaped. */
  readonly defaultClass: number
}

export interface HtbClassOptions {
  /** What the class is given in any case. */
  readonly rateBitsPerSec: number
  /** What it may borrow up to; absent: the same. */
  readonly ceilBitsPerSec?: number | undefined
  readonly burstBytes?: number | undefined
  readonly ceilBurstBytes?: number | undefined
  /** Who borrows first, 0 to 7; lower is earlier. */
  readonly priority?: number | undefined
  /** What a class may send before others have their turn. */
  readonly quantumBytes?: number | undefined
}

export interface TbfSpec {
  readonly index: number
  readonly kind: 'tbf'
  /** Absent: the root of the device. */
  readonly parent?: number | undefined
  readonly handle?: number | undefined
  readonly rateBitsPerSec: number
  readonly burstBytes: number
  /** How long a packet may wait at most, which with the burst becomes `limitBytes`. Absent: 50. */
  readonly latencyMs?: number | undefined
  /** Instead of `latencyMs`. */
  readonly limitBytes?: number | undefined
}

export interface HtbSpec extends Partial<HtbOptions> {
  readonly index: number
  readonly kind: 'htb'
  /** Absent: the root of the device. */
  readonly parent?: number | undefined
  /** Its minor half is 0; `parseHandle('1:')`. */
  readonly handle: number
}

export interface TrafficClassSpec extends HtbClassOptions {
  readonly index: number
  readonly kind: 'htb'
  /** Its major half is that of the qdisc; `parseHandle('1:10')`. */
  readonly handle: number
  /** The qdisc or another class. */
  readonly parent: number
}

/** What went through, and what did not. */
export interface TrafficStatistics {
  readonly bytes: bigint
  readonly packets: number
  readonly queuedPackets: number
  readonly queuedBytes: number
  readonly drops: number
  /** How often something had to wait. */
  readonly overlimits: number
}

export interface TrafficClassKey {
  readonly index: number
  readonly handle: number
}
