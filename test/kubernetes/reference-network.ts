// The reference plug-ins as the cluster's network: ptp, host-local and portmap, with routes between nodes by hand. The peer of ours.
import { copyFileSync, globSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type Cluster, routeCommand } from './cluster.ts'
import type { ClusterNode } from './node.ts'

const PLUGINS = '/usr/lib/cni'
const CONF_DIR = 'etc/cni/net.d'
const BIN_DIR = 'opt/cni/bin'
const CONFLIST = '10-reference.conflist'

/** On these nodes, with routes among them. */
export async function applyReferenceNetwork(
  cluster: Cluster,
  nodes: readonly ClusterNode[] = cluster.nodes,
): Promise<void> {
  for (const node of nodes) {
    const { machine } = node
    const ranges = await cluster.podRanges(node.name)
    for (const other of nodes) {
      if (other === node) continue
      for (const range of ranges) await other.machine.exec(routeCommand(range, node))
    }
    const forwarding = ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']
    await machine.exec(['sysctl', '-qw', ...forwarding])
    installReferencePlugins(node)
    const target = machine.onDisk(join(CONF_DIR, CONFLIST))
    writeFileSync(`${target}.new`, JSON.stringify(conflist(ranges), null, 2))
    renameSync(`${target}.new`, target)
  }
}

export async function removeReferenceNetwork(cluster: Cluster): Promise<void> {
  for (const node of cluster.nodes) {
    rmSync(node.machine.onDisk(join(CONF_DIR, CONFLIST)), { force: true })
    for (const range of await cluster.podRanges(node.name)) {
      for (const other of cluster.nodes) {
        if (other !== node)
          await other.machine.exec(['ip', 'route', 'del', range], { canFail: true })
      }
    }
  }
}

/** As a distribution's package does. */
export function installReferencePlugins({ machine }: ClusterNode): void {
  mkdirSync(machine.onDisk(BIN_DIR), { recursive: true })
  for (const plugin of globSync(join(PLUGINS, '*'))) {
    copyFileSync(plugin, join(machine.onDisk(BIN_DIR), basename(plugin)))
  }
}

function conflist(ranges: readonly string[]): object {
  return {
    cniVersion: '1.0.0',
    name: 'reference',
    plugins: [
      {
        type: 'ptp',
        mtu: 1500,
        ipam: {
          type: 'host-local',
          dataDir: '/run/cni-ipam',
          ranges: ranges.map((subnet) => [{ subnet }]),
          routes: ranges.map((range) => ({ dst: range.includes(':') ? '::/0' : '0.0.0.0/0' })),
        },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  }
}
