// Which ports of the node lead to a pod, as the runtime asks for it: CNI conventions, capability `portMappings`. Pure.
import { canonicalIp, isIp } from '@sinabro/node-netlink'
import { membersByName } from '../cni/member-names.ts'
import type { Protocol } from './rows.ts'

export interface PortMapping {
  readonly hostPort: number
  readonly containerPort: number
  readonly protocol: Protocol
  /** Canonical; '0.0.0.0' and '::' are all addresses of one family. Absent: all of both. */
  readonly hostIP?: string
}

/** Says what was expected and what was found. */
export class PortMappingError extends Error {
  override readonly name = 'PortMappingError'
}

/** A pod has a handful; a list beyond this is no pod's. */
const MOST_MAPPINGS = 1024
const PROTOCOLS: readonly Protocol[] = ['TCP', 'UDP', 'SCTP']

/** Members of `runtimeConfig.portMappings`; those without a host port ask for nothing. @throws PortMappingError */
export function parsePortMappings(value: unknown): readonly PortMapping[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw new PortMappingError(`expected a list, found ${show(value)}`)
  if (value.length > MOST_MAPPINGS) {
    throw new PortMappingError(`expected at most ${MOST_MAPPINGS}, found ${value.length}`)
  }
  return value.flatMap((one: unknown, at) => parseOne(one, `[${at}]`) ?? [])
}

/** The first that both want: the same port and protocol on an address that both have. */
export function findClash(
  wanted: readonly PortMapping[],
  taken: readonly PortMapping[],
): PortMapping | undefined {
  return wanted.find((one) =>
    taken.some(
      (other) =>
        one.hostPort === other.hostPort && one.protocol === other.protocol && overlap(one, other),
    ),
  )
}

export function isSamePortMappings(
  one: readonly PortMapping[],
  other: readonly PortMapping[],
): boolean {
  const texts = (mappings: readonly PortMapping[]) => mappings.map(formatPortMapping).sort().join()
  return texts(one) === texts(other)
}

/** '[fd00::1]:80 to 8080/TCP' */
export function formatPortMapping({ hostPort, containerPort, protocol, hostIP }: PortMapping) {
  const host = hostIP?.includes(':') ? `[${hostIP}]` : (hostIP ?? '')
  return `${host}:${hostPort} to ${containerPort}/${protocol}`
}

/** Whether the address stands for all of its family. */
export function isAny(address: string): boolean {
  return address === '0.0.0.0' || address === '::'
}

function overlap({ hostIP: one }: PortMapping, { hostIP: other }: PortMapping): boolean {
  if (one === undefined || other === undefined || one === other) return true
  return one.includes(':') === other.includes(':') && (isAny(one) || isAny(other))
}

function parseOne(value: unknown, where: string): PortMapping | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new PortMappingError(`${where}: expected an object, found ${show(value)}`)
  }
  const members = membersByName(value)
  const hostPort = portOf(members, 'hostPort', where, 0)
  // As Kubernetes says that there is none.
  if (hostPort === 0) return undefined
  const hostIP = addressOf(members.hostIP, where)
  return {
    hostPort,
    containerPort: portOf(members, 'containerPort', where, 1),
    protocol: protocolOf(members.protocol, where),
    ...(hostIP === undefined ? {} : { hostIP }),
  }
}

function portOf(
  members: Readonly<Record<string, unknown>>,
  name: string,
  where: string,
  least: number,
): number {
  const value = members[name] ?? 0
  const isPort = typeof value === 'number' && Number.isInteger(value) && value <= 65_535
  if (isPort && value >= least) return value
  throw new PortMappingError(`${where}.${name}: expected a port, found ${show(value)}`)
}

function protocolOf(value: unknown, where: string): Protocol {
  const text = value === undefined || value === '' ? 'TCP' : String(value).toUpperCase()
  const protocol = PROTOCOLS.find((one) => one === text)
  if (protocol !== undefined) return protocol
  throw new PortMappingError(`${where}.protocol: expected tcp, udp or sctp, found ${show(value)}`)
}

function addressOf(value: unknown, where: string): string | undefined {
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value === 'string' && isIp(value)) return canonicalIp(value)
  throw new PortMappingError(`${where}.hostIP: expected an address, found ${show(value)}`)
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? typeof value).slice(0, 60)
}
