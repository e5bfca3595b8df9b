// The clock of flow rows, as bpf/lib/clock.h reads it.
import { FLOW_TIME_UNIT_NS } from '../src/layouts.ts'

/** Now, in the unit of `seen` and `created`. */
export function now(): number {
  return Number(process.hrtime.bigint() / FLOW_TIME_UNIT_NS)
}

const NS_PER_SEC = 1_000_000_000n

/** That long ago, rounded up; before the machine came up it wraps, as the C does. */
export function secondsAgo(sec: number): number {
  const units = (BigInt(sec) * NS_PER_SEC) / FLOW_TIME_UNIT_NS + 2n
  return (now() - Number(units)) >>> 0
}
