// What another network left in the configuration directory: ours is taken by name, the other's file is not ours to touch.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { BlockList, isIPv6 } from 'node:net'
import { join } from 'node:path'
import { TREE } from '../../lab/places.ts'
import type { Cluster } from '../cluster.ts'
import type { ClusterNode } from '../node.ts'
import { installReferencePlugins } from '../reference-network.ts'
import { everyoneTalks, withNamespace } from './pods.ts'
import type { Scenario } from './scenario.ts'

const CONF_DIR = 'etc/cni/net.d'
const AFTER_OURS = '10-other.conflist'
const BEFORE_OURS = '00-other.conflist'
/** One that would work: its pods would have addresses of a range that is nobody's. */
const OTHER = JSON.stringify({
  cniVersion: '1.0.0',
  name: 'other',
  plugins: [
    {
      type: 'ptp',
      ipam: {
        type: 'host-local',
        dataDir: '/run/other-ipam',
        ranges: [[{ subnet: '10.99.0.0/24' }]],
      },
    },
  ],
})

/** Puts the other's configuration on every node while `work` runs. @throws Error when it is not as it was */
export async function withOtherNetwork<T>(
  cluster: Cluster,
  name: string,
  work: () => Promise<T>,
): Promise<T> {
  const files = cluster.nodes.map(({ machine }) => machine.onDisk(join(CONF_DIR, name)))
  for (const file of files) writeFileSync(file, OTHER)
  try {
    const result = await work()
    for (const file of files) {
      if (readFileSync(file, 'utf8') !== OTHER) throw new Error(`${file} was changed`)
    }
    return result
  } finally {
    for (const file of files) rmSync(file, { force: true })
  }
}

async function oursIsTaken(cluster: Cluster): Promise<string> {
  for (const node of cluster.nodes) installReferencePlugins(node)
  await withOtherNetwork(cluster, AFTER_OURS, () =>
    withNamespace(cluster, 'other-network', async (space) => {
      for (const { name, node, addresses } of await everyoneTalks(space)) {
        const ours = await rangesOf(cluster, node)
        const strange = addresses.find((a) => !ours.check(a, isIPv6(a) ? 'ipv6' : 'ipv4'))
        if (strange !== undefined) throw new Error(`${name} has ${strange}, which is not ours`)
      }
    }),
  )
  const node = cluster.node(1)
  const said = await withOtherNetwork(cluster, BEFORE_OURS, () => doctor(node))
  if (!said.includes(BEFORE_OURS)) throw new Error(`the doctor does not see it: ${said}`)
  return 'and the doctor names one that comes before ours'
}

async function rangesOf(cluster: Cluster, node: string): Promise<BlockList> {
  const list = new BlockList()
  for (const range of await cluster.podRanges(node)) {
    const [address = '', length] = range.split('/')
    list.addSubnet(address, Number(length), isIPv6(address) ? 'ipv6' : 'ipv4')
  }
  return list
}

async function doctor({ machine }: ClusterNode): Promise<string> {
  const argv = [join(TREE, 'agent/build/sinabro'), 'doctor']
  return (await machine.exec(argv, { canFail: true })).stdout
}

export const otherNetwork: readonly Scenario[] = [
  { name: "another network's configuration lies beside ours", run: oursIsTaken },
]
