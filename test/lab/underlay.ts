// The lab's own network: a switch (a bridge in a namespace of its own), one cable from it to each machine's eth0, and on that what
// real nodes have for an uplink.
import { run } from './command.ts'
import type { Machine } from './machine.ts'
import type { UnderlayAddress } from './plan.ts'
import { addTun, compileTun } from './tun.ts'

export interface Plug {
  readonly machine: Machine
  readonly addresses: readonly UnderlayAddress[]
  /** Where the default routes go, one per family; none for the router itself. */
  readonly routers: readonly UnderlayAddress[]
}

export const UPLINK = 'eth0'
const BRIDGE = 'br0'
const SECOND_CABLE = 'eth1'
const VLAN_ID = 7
/** Headers around a packet of a tun device. */
const UDP_OVER_IPV6 = 40 + 8

/**
 * What has the node's addresses: the cable itself, a VLAN of it, a bond of two cables, a bridge with the cable as its port, or a
 * device without Ethernet header (a tun device to the other node; such a lab has two nodes and nothing outside).
 */
export type UplinkKind = 'ethernet' | 'vlan' | 'bond' | 'bridge' | 'l3'

export const UPLINK_DEVICES: Readonly<Record<UplinkKind, string>> = {
  ethernet: UPLINK,
  vlan: `${UPLINK}.${VLAN_ID}`,
  bond: 'bond0',
  bridge: 'br0',
  l3: 'tun0',
}

/** Done by `ip`, not by the library under test: what it shows and what the library does are two witnesses. */
export async function wire(
  underlay: Machine,
  plugs: readonly Plug[],
  underlayMtu: number,
  uplink: UplinkKind = 'ethernet',
): Promise<void> {
  const ofUnderlay = [`link add ${BRIDGE} mtu ${underlayMtu} type bridge stp_state 0`]
  const cables = uplink === 'bond' ? [UPLINK, SECOND_CABLE] : [UPLINK]
  for (const { machine } of plugs) {
    for (const cable of cables) {
      const port = `${cable === UPLINK ? 'p' : 'q'}-${machine.name}`
      const { pid } = machine.state.init
      ofUnderlay.push(
        `link add ${port} mtu ${underlayMtu} type veth peer name ${cable} mtu ${underlayMtu} netns ${pid}`,
        `link set ${port} master ${BRIDGE} up`,
      )
    }
  }
  ofUnderlay.push(`link set ${BRIDGE} up`)
  await batchFromHost(underlay, ofUnderlay)
  await Promise.all(plugs.map((plug, at) => plugIn(plug, at, uplink, underlayMtu)))
}

/** @param at 0 is the host outside, then the nodes by number */
async function plugIn(
  { machine, addresses, routers }: Plug,
  at: number,
  uplink: UplinkKind,
  underlayMtu: number,
): Promise<void> {
  const kind = uplink === 'l3' && at === 0 ? 'ethernet' : uplink
  const device = UPLINK_DEVICES[kind]
  // A device without Ethernet header has no neighbours to ask for a router.
  const route = ({ address }: UnderlayAddress): string => {
    if (kind !== 'l3') return `route add default via ${address} dev ${device}`
    return `route add ${address.includes(':') ? '::/0' : '0.0.0.0/0'} dev ${device}`
  }
  if (kind === 'l3') await addTunOver(machine, at, device)
  const lines = [
    ...deviceLines(kind, underlayMtu),
    ...addresses.map((a) => `address add ${a.address}/${a.prefixLen} dev ${device} nodad`),
    `link set ${device} up`,
    ...routers.map(route),
  ]
  await batch(machine, lines)
}

/** Addresses of the cable's ends, which only the tun devices' packets are between. */
async function addTunOver(machine: Machine, at: number, device: string): Promise<void> {
  const [own, other] = at === 1 ? [1, 2] : [2, 1]
  await batch(machine, [`address add fd99::${own}/64 dev ${UPLINK} nodad`, `link set ${UPLINK} up`])
  const program = await compileTun(machine.places.dir)
  await addTun(machine, program, device, [`fd99::${own}`, `fd99::${other}`])
}

/** What makes the device out of the cable. */
function deviceLines(kind: UplinkKind, underlayMtu: number): string[] {
  const device = UPLINK_DEVICES[kind]
  switch (kind) {
    case 'ethernet':
      return []
    case 'vlan':
      return [
        `link add link ${UPLINK} name ${device} type vlan id ${VLAN_ID}`,
        `link set ${UPLINK} up`,
      ]
    case 'bond':
      return [
        `link add ${device} type bond mode active-backup miimon 50`,
        `link set ${UPLINK} master ${device}`,
        `link set ${SECOND_CABLE} master ${device}`,
      ]
    case 'bridge':
      return [
        `link add ${device} type bridge stp_state 0`,
        `link set ${UPLINK} master ${device} up`,
      ]
    case 'l3':
      return [`link set ${device} mtu ${underlayMtu - UDP_OVER_IPV6}`]
  }
}

export async function batch(machine: Machine, lines: readonly string[]): Promise<void> {
  await machine.exec(['ip', '-batch', '-'], { input: `${lines.join('\n')}\n` })
}

/** `netns PID` is looked up in the caller's pid namespace, so this runs in the host's and enters the network only. */
export async function batchFromHost(machine: Machine, lines: readonly string[]): Promise<void> {
  const net = `--net=/proc/${machine.state.init.pid}/ns/net`
  await run(['nsenter', net, 'ip', '-batch', '-'], { input: `${lines.join('\n')}\n` })
}
