// What a node holds for its pods, read where it lies and not from the agent: files, devices, routes, map rows, pins.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { addr, BpfMap, TypedMap } from '@sinabro/libbpf-ts'
import { ENDPOINT_LOCAL_POD, endpoint, LAYOUT_VERSION, MAP_NAMES } from '@sinabro/libbpf-ts/layouts'
import type { Machine } from './machine.ts'

export interface AllocationOnDisk {
  readonly containerId: string
  readonly addresses: readonly string[]
  readonly hostDevice: string
  readonly endpointId: number
  readonly incarnation: number
}

export interface NodeState {
  /** By container. */
  readonly allocations: readonly AllocationOnDisk[]
  /** Devices that carry the mark of a pod: name and index. */
  readonly devices: readonly {
    readonly name: string
    readonly index: number
    readonly isUp: boolean
  }[]
  /** Routes to single pods: destination and device. */
  readonly podRoutes: readonly { readonly to: string; readonly device: string }[]
  readonly endpointRows: readonly {
    readonly address: string
    readonly ifindex: number
    readonly incarnation: number
  }[]
  /** Devices for which links are pinned; empty where filters need no pin. */
  readonly pinnedLinks: readonly string[]
}

const POD_ALIAS = 'sinabro:pod/'
const ROUTE_PROTOCOL = '91'
const BPF_DIR = '/sys/fs/bpf/sinabro'
const PINS = `${BPF_DIR}/v${LAYOUT_VERSION}`

interface IpLink {
  readonly ifname: string
  readonly ifindex: number
  readonly ifalias?: string
  readonly flags: readonly string[]
}

interface IpRoute {
  readonly dst: string
  readonly dev: string
  readonly gateway?: string
}

export function readAllocations(machine: Machine): AllocationOnDisk[] {
  const folder = join(machine.places.stateDir, 'allocations')
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json') && !name.startsWith('.'))
    .map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')))
    .map(({ key, addresses, hostDevice, endpointId, incarnation }) => ({
      containerId: String(key.containerId),
      addresses,
      hostDevice,
      endpointId,
      incarnation,
    }))
}

export async function readNodeState(machine: Machine): Promise<NodeState> {
  const links = await ipJson<IpLink[]>(machine, ['-details', 'link'])
  const routes = [
    ...(await ipJson<IpRoute[]>(machine, ['-4', 'route', 'show', 'proto', ROUTE_PROTOCOL])),
    ...(await ipJson<IpRoute[]>(machine, ['-6', 'route', 'show', 'proto', ROUTE_PROTOCOL])),
  ]
  return {
    allocations: readAllocations(machine),
    devices: links
      .filter((link) => link.ifalias?.startsWith(POD_ALIAS))
      .map(({ ifname, ifindex, flags }) => ({
        name: ifname,
        index: ifindex,
        isUp: flags.includes('UP'),
      })),
    podRoutes: routes
      .filter((route) => route.gateway === undefined && !route.dst.includes('/'))
      .map((route) => ({ to: route.dst, device: route.dev })),
    endpointRows: readEndpoints(machine),
    pinnedLinks: readPinnedLinks(machine),
  }
}

function readEndpoints(machine: Machine): NodeState['endpointRows'] {
  const path = machine.pathOnHost(`${PINS}/maps/${MAP_NAMES.endpoints}`)
  if (!existsSync(path)) return []
  const map = BpfMap.openPinned(path)
  try {
    const rows = new TypedMap(map, addr, endpoint).entries()
    return [...rows]
      .filter(([, row]) => (row.flags & ENDPOINT_LOCAL_POD) !== 0)
      .map(([address, { ifindex, incarnation }]) => ({ address, ifindex, incarnation }))
  } finally {
    map.close()
  }
}

function readPinnedLinks(machine: Machine): string[] {
  const folder = machine.pathOnHost(`${PINS}/links`)
  if (!existsSync(folder)) return []
  return readdirSync(folder)
}

async function ipJson<T>(machine: Machine, args: readonly string[]): Promise<T> {
  const { stdout } = await machine.exec(['ip', '-json', ...args])
  return JSON.parse(stdout === '' ? '[]' : stdout) as T
}

/** What is wrong with a node that should hold exactly these containers; empty when nothing is. */
export function differences(
  state: NodeState,
  expected: readonly { readonly containerId: string; readonly addresses: readonly string[] }[],
): string[] {
  const found: string[] = []
  const say = (isWrong: boolean, what: string): void => void (isWrong && found.push(what))
  const byId = new Map(state.allocations.map((a) => [a.containerId, a]))
  for (const { containerId, addresses } of expected) {
    const id = containerId.slice(0, 8)
    const allocation = byId.get(containerId)
    if (allocation === undefined) {
      found.push(`${id}: no allocation`)
      continue
    }
    byId.delete(containerId)
    const have = allocation.addresses.join(' ')
    say(have !== addresses.join(' '), `${id}: allocated ${have}, told ${addresses.join(' ')}`)
    const device = state.devices.find(({ name }) => name === allocation.hostDevice)
    say(device?.isUp !== true, `${id}: device ${allocation.hostDevice} absent or down`)
    for (const address of allocation.addresses) {
      const row = state.endpointRows.find((r) => r.address === address)
      const isRight = row?.ifindex === device?.index && row?.incarnation === allocation.incarnation
      say(!isRight, `${id}: endpoint row of ${address} is ${JSON.stringify(row)}`)
      const to = state.podRoutes.find((r) => r.to === address)
      say(
        to?.device !== allocation.hostDevice,
        `${id}: route to ${address} is ${JSON.stringify(to)}`,
      )
    }
  }
  for (const left of byId.values()) found.push(`allocation too many: ${JSON.stringify(left)}`)
  const devices = new Set(state.allocations.map((a) => a.hostDevice))
  const addresses = new Set(state.allocations.flatMap((a) => a.addresses))
  for (const { name } of state.devices) say(!devices.has(name), `device too many: ${name}`)
  for (const { address } of state.endpointRows) {
    say(!addresses.has(address), `endpoint row too many: ${address}`)
  }
  for (const { to } of state.podRoutes) say(!addresses.has(to), `route too many: ${to}`)
  for (const name of state.pinnedLinks) {
    const isOfDevice = [...devices, 'sb-vxlan'].some((device) => name.startsWith(device))
    say(!isOfDevice, `pinned link too many: ${name}`)
  }
  return found
}
