// The lab's address plan and names: which addresses, ranges and files machine number N has. Pure.
import { LabError } from './errors.ts'

export type Families = 'dual' | 'ipv4' | 'ipv6'

export interface UnderlayAddress {
  readonly address: string
  readonly prefixLen: number
}

export interface NodePlan {
  readonly name: string
  /** Addresses on the underlay, in the order they stand in the Node object. */
  readonly internalIps: readonly string[]
  readonly addresses: readonly UnderlayAddress[]
  readonly podCidrs: readonly string[]
}

/** A plain host on the underlay that is no node; also everybody's default router. */
export const OUTSIDE_HOST = 254
export const MAX_NODES = 200

/** Lab and pod names become file, cgroup and namespace names. */
export function checkName(what: string, name: string): string {
  if (!/^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$/.test(name)) {
    throw new LabError(
      'name',
      `${what} name ${JSON.stringify(name)}: expected 1 to 40 of a-z, 0-9 and inner dashes`,
    )
  }
  return name
}

export function nodePlan(number: number, families: Families): NodePlan {
  if (!Number.isInteger(number) || number < 1 || number > MAX_NODES) {
    throw new LabError('nodes', `node number ${number}: expected 1 to ${MAX_NODES}`)
  }
  const addresses = hostAddresses(number, families)
  const podCidrs = byFamily(families, `10.244.${number}.0/24`, `fd00:10:244:${hex(number)}::/64`)
  return {
    name: `node${number}`,
    internalIps: addresses.map((entry) => entry.address),
    addresses,
    podCidrs,
  }
}

export function hostAddresses(host: number, families: Families): UnderlayAddress[] {
  return byFamily(
    families,
    { address: `172.18.0.${host}`, prefixLen: 24 },
    { address: `fd18::${hex(host)}`, prefixLen: 64 },
  )
}

function byFamily<T>(families: Families, v4: T, v6: T): T[] {
  if (families === 'dual') return [v4, v6]
  return families === 'ipv4' ? [v4] : [v6]
}

function hex(value: number): string {
  return value.toString(16)
}
