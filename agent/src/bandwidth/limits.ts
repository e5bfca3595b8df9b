// What a pod may send and be sent per second, as the runtime asks for it: CNI conventions, capability `bandwidth`. Pure.
import { membersByName } from '../cni/member-names.ts'

/** To the pod is ingress, from it egress. A direction that is absent has no limit. */
export interface Bandwidth {
  readonly ingress?: Limit
  readonly egress?: Limit
}

export interface Limit {
  readonly rateBitsPerSec: number
  /** What may pass at once after a pause. */
  readonly burstBits: number
}

/** Says what was expected and what was found. */
export class LimitError extends Error {
  override readonly name = 'LimitError'
}

/** Below, the kernel's token bucket has no unit for it. */
const MIN_RATE_BITS = 8
/** TCA_TBF_BURST holds 32 bits of bytes. */
const MAX_BURST_BITS = 0xffff_ffff * 8

/** Members of `runtimeConfig.bandwidth`; absent, null and 0 mean no limit. @throws LimitError */
export function parseBandwidth(value: unknown): Bandwidth | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new LimitError(`expected an object, found ${show(value)}`)
  }
  const members = membersByName(value)
  const ingress = limitOf(members, 'ingress')
  const egress = limitOf(members, 'egress')
  if (ingress === undefined && egress === undefined) return undefined
  return {
    ...(ingress === undefined ? {} : { ingress }),
    ...(egress === undefined ? {} : { egress }),
  }
}

export function isSameBandwidth(one: Bandwidth | undefined, other: Bandwidth | undefined): boolean {
  const isSame = (a: Limit | undefined, b: Limit | undefined) =>
    a?.rateBitsPerSec === b?.rateBitsPerSec && a?.burstBits === b?.burstBits
  return isSame(one?.ingress, other?.ingress) && isSame(one?.egress, other?.egress)
}

export function formatBandwidth({ ingress, egress }: Bandwidth = {}): string {
  const one = (limit: Limit | undefined) =>
    limit === undefined ? 'none' : `${limit.rateBitsPerSec} bits/s`
  return `ingress ${one(ingress)}, egress ${one(egress)}`
}

function limitOf(
  members: Readonly<Record<string, unknown>>,
  direction: 'ingress' | 'egress',
): Limit | undefined {
  const rateBitsPerSec = bitsOf(members, `${direction}Rate`)
  const burstBits = bitsOf(members, `${direction}Burst`)
  if (rateBitsPerSec === 0 && burstBits === 0) return undefined
  if (rateBitsPerSec === 0 || burstBits === 0) {
    const missing = rateBitsPerSec === 0 ? 'Rate' : 'Burst'
    const given = rateBitsPerSec === 0 ? 'Burst' : 'Rate'
    throw new LimitError(`${direction}${given} needs ${direction}${missing} beside it`)
  }
  if (rateBitsPerSec < MIN_RATE_BITS) {
    throw new LimitError(
      `${direction}Rate: expected at least ${MIN_RATE_BITS} bits/s, found ${rateBitsPerSec}`,
    )
  }
  if (burstBits > MAX_BURST_BITS) {
    throw new LimitError(
      `${direction}Burst: expected at most ${MAX_BURST_BITS} bits, found ${burstBits}`,
    )
  }
  return { rateBitsPerSec, burstBits }
}

function bitsOf(members: Readonly<Record<string, unknown>>, name: string): number {
  const value = members[name] ?? 0
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw new LimitError(`${name}: expected a whole number of bits, found ${show(value)}`)
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? typeof value).slice(0, 40)
}
