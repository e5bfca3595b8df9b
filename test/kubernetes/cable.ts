// The cable of a node that came back: the old one went with its network namespace.

import { run } from '../lab/command.ts'
import { eventually } from '../lab/eventually.ts'
import type { Machine } from '../lab/machine.ts'
import { type Families, hostAddresses, OUTSIDE_HOST } from '../lab/plan.ts'
import { UPLINK } from '../lab/underlay.ts'
import type { ClusterNode } from './node.ts'
import { nodeAddresses } from './places.ts'

const BRIDGE = 'br0'

/** Of the node's network card, which it keeps when its power goes. */
export async function readMac({ machine }: ClusterNode): Promise<string> {
  const { stdout } = await machine.exec(['cat', `/sys/class/net/${UPLINK}/address`])
  return stdout.trim()
}

/** Without `mac` it is another card than before. */
export async function plugIn(
  underlay: Machine,
  node: ClusterNode,
  { families, mac }: { readonly families: Families; readonly mac?: string | undefined },
): Promise<void> {
  const port = `p-${node.name}`
  // `netns PID` is looked up in the caller's pid namespace: enters the network only.
  const ip = ['nsenter', `--net=/proc/${underlay.state.init.pid}/ns/net`, 'ip']
  // A namespace's devices go a moment after its last process.
  await eventually(`the old cable of ${node.name} to go`, async () => {
    return (await run([...ip, 'link', 'show', port], { canFail: true })).status !== 0
  })
  const card = mac === undefined ? [] : ['address', mac]
  const peer = ['peer', 'name', UPLINK, ...card, 'netns', String(node.machine.state.init.pid)]
  await run([...ip, 'link', 'add', port, 'type', 'veth', ...peer])
  await run([...ip, 'link', 'set', port, 'master', BRIDGE, 'up'])
  const inside = [
    ...nodeAddresses(node.settings.number, families).map(
      ({ address, prefixLen }) => `address add ${address}/${prefixLen} dev ${UPLINK} nodad`,
    ),
    `link set ${UPLINK} up`,
    ...hostAddresses(OUTSIDE_HOST, families).map(
      ({ address }) => `route add default via ${address} dev ${UPLINK}`,
    ),
  ]
  await node.machine.exec(['ip', '-batch', '-'], { input: `${inside.join('\n')}\n` })
}
