// A limit in the kernel: one token bucket filter at the root of a device, for what is sent out of it (ADR 0017).
import type { Qdisc, RouteNetlink } from '@sinabro/node-netlink'
import type { Limit } from './limits.ts'

export interface Bucket {
  readonly rateBitsPerSec: number
  readonly burstBytes: number
  readonly limitBytes: number
}

/** Two frames of the largest MTU in use: a bucket smaller than one frame lets none through. */
const MIN_BURST_BYTES = 18 * 1024
/** How much may wait: this long at the rate, but at least two packets of the largest kind, and no more memory than this. */
const QUEUE_MS = 50
const MIN_QUEUE_BYTES = 128 * 1024
const MAX_QUEUE_BYTES = 16 * 1024 * 1024

/**
 * The queue does not grow with the burst: runtimes fill in bursts of 256 MiB, and a queue like that would hold the node's memory
 * and add minutes of delay.
 */
export function computeBucket({ rateBitsPerSec, burstBits }: Limit): Bucket {
  const queueBytes = Math.round((rateBitsPerSec / 8) * (QUEUE_MS / 1000))
  return {
    rateBitsPerSec,
    burstBytes: Math.max(Math.floor(burstBits / 8), MIN_BURST_BYTES),
    limitBytes: Math.min(Math.max(queueBytes, MIN_QUEUE_BYTES), MAX_QUEUE_BYTES),
  }
}

/** Idempotent: a bucket that is there takes on the numbers without losing a packet. */
export async function shape(
  netlink: RouteNetlink,
  index: number,
  limit: Limit | undefined,
): Promise<void> {
  if (limit === undefined) return
  await netlink.qdiscs.replace({ index, kind: 'tbf', ...computeBucket(limit) })
}

const TC_H_ROOT = 0xffff_ffff

/** Whether the device among whose qdiscs these are is held to the limit. The kernel does not tell a burst back that is longer than 274 s. */
export function isShaped(
  qdiscs: readonly Qdisc[],
  index: number,
  limit: Limit | undefined,
): boolean {
  if (limit === undefined) return true
  const { rateBitsPerSec, limitBytes } = computeBucket(limit)
  const root = qdiscs.find((qdisc) => qdisc.index === index && qdisc.parent === TC_H_ROOT)
  return (
    root?.tbf !== undefined &&
    Math.floor(root.tbf.rateBitsPerSec / 8) === Math.floor(rateBitsPerSec / 8) &&
    root.tbf.limitBytes === limitBytes
  )
}
