// The lab's own network: a switch (a bridge in a namespace of its own) and one cable from it to each machine's eth0.
import { run } from './command.ts'
import type { Machine } from './machine.ts'
import type { UnderlayAddress } from './plan.ts'

export interface Plug {
  readonly machine: Machine
  readonly addresses: readonly UnderlayAddress[]
  /** Where the default routes go, one per family; none for the router itself. */
  readonly routers: readonly UnderlayAddress[]
}

export const UPLINK = 'eth0'
const BRIDGE = 'br0'

/** Done by `ip`, not by the library under test: what it shows and what the library does are two witnesses. */
export async function wire(
  underlay: Machine,
  plugs: readonly Plug[],
  underlayMtu: number,
): Promise<void> {
  const ofUnderlay = [`link add ${BRIDGE} mtu ${underlayMtu} type bridge stp_state 0`]
  for (const { machine } of plugs) {
    const port = `p-${machine.name}`
    const { pid } = machine.state.init
    ofUnderlay.push(
      `link add ${port} mtu ${underlayMtu} type veth peer name ${UPLINK} mtu ${underlayMtu} netns ${pid}`,
      `link set ${port} master ${BRIDGE} up`,
    )
  }
  ofUnderlay.push(`link set ${BRIDGE} up`)
  // `netns PID` is looked up in the caller's pid namespace, so this runs in the host's and enters the network only.
  await batchFromHost(underlay, ofUnderlay)
  await Promise.all(plugs.map(plugIn))
}

async function plugIn({ machine, addresses, routers }: Plug): Promise<void> {
  const lines = [
    ...addresses.map((a) => `address add ${a.address}/${a.prefixLen} dev ${UPLINK} nodad`),
    `link set ${UPLINK} up`,
    ...routers.map((router) => `route add default via ${router.address} dev ${UPLINK}`),
  ]
  await batch(machine, lines)
}

async function batch(machine: Machine, lines: readonly string[]): Promise<void> {
  await machine.exec(['ip', '-batch', '-'], { input: `${lines.join('\n')}\n` })
}

async function batchFromHost(machine: Machine, lines: readonly string[]): Promise<void> {
  const net = `--net=/proc/${machine.state.init.pid}/ns/net`
  await run(['nsenter', net, 'ip', '-batch', '-'], { input: `${lines.join('\n')}\n` })
}
