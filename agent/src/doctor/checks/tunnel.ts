// Who else wants our tunnel's port or number, and whether packets fit: devices and sockets of others, MTUs.
import type { Link } from '@sinabro/node-netlink'
import type { Check, Finding } from '../finding.ts'
import type { World } from '../world.ts'

const OVERLAY_ALIAS = 'sinabro:overlay'
const POD_ALIAS_PREFIX = 'sinabro:pod/'

export const foreignTunnel: Check<World> = {
  name: 'foreign tunnel',
  async run(world) {
    if (!(await world.hasTunnel())) return []
    const { vni, tunnelPort } = world.config
    const links = await world.netlink.links.list()
    const findings: Finding[] = []
    for (const { name, alias, vxlan } of links) {
      if (vxlan === undefined || alias === OVERLAY_ALIAS) continue
      if ((vxlan.port ?? 8472) !== tunnelPort) continue
      const isClash = vxlan.collectMetadata === true || vxlan.vni === vni
      findings.push({
        level: isClash ? 'error' : 'warning',
        found: `device ${name} is a VXLAN device on port ${tunnelPort}${vxlan.collectMetadata === true ? ' that takes every VNI' : ` with VNI ${vxlan.vni}`}, and not ours`,
        means: isClash
          ? 'ours cannot be made beside it, or it takes our packets'
          : 'they share a port: it works while the VNIs differ and both use the same options',
        do: `if it is left over from another network (flannel.1, cilium_vxlan, …): ip link del ${name}. Else choose another --tunnel-port on all nodes`,
      })
    }
    findings.push(...socketFindings(world, links, tunnelPort))
    return findings
  },
}

/** The kernel's own tunnels have no inode; a process has. */
function socketFindings(world: World, links: readonly Link[], port: number): Finding[] {
  if (links.some(({ alias }) => alias === OVERLAY_ALIAS)) return []
  const holders = ['udp', 'udp6'].filter((name) => {
    return readUdp(world, name).some((one) => one.port === port && one.inode !== '0')
  })
  return holders.map((name) => ({
    level: 'error',
    found: `a process listens on UDP port ${port} (${name})`,
    means: 'the tunnel device cannot be made while it does',
    do: `ss -ulpn sport = :${port} says which; stop it, or choose another --tunnel-port on all nodes`,
  }))
}

function readUdp(world: World, name: string): { port: number; inode: string }[] {
  let text: string
  try {
    text = world.procNet(name)
  } catch {
    return []
  }
  return text
    .split('\n')
    .slice(1)
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const columns = line.trim().split(/\s+/)
      return { port: Number.parseInt(columns[1]?.split(':')[1] ?? '', 16), inode: columns[9] ?? '' }
    })
}

/** Of an IPv6 link (RFC 8200 §5). */
const LEAST_MTU = 1280
/** What the tunnel adds over IPv6. */
const TUNNEL_HEADERS = 70

export const mtu: Check<World> = {
  name: 'mtu',
  async run(world) {
    const links = await world.netlink.links.list()
    const findings: Finding[] = []
    const least = LEAST_MTU + ((await world.hasTunnel()) ? TUNNEL_HEADERS : 0)
    const uplinks = new Set<number | undefined>()
    for (const { dst, index } of await world.netlink.routes.list()) {
      if (dst === 'default') uplinks.add(index)
    }
    for (const link of links.filter(({ index }) => uplinks.has(index))) {
      if (link.mtu >= least) continue
      findings.push({
        level: 'error',
        found: `the uplink ${link.name} carries ${link.mtu} bytes`,
        means: `pods would get less than the 1280 bytes that IPv6 needs: their IPv6 does not work between nodes`,
        do: `raise it to at least ${least}: ip link set ${link.name} mtu 1500, if the network below carries that`,
      })
    }
    const agent = await world.agent()
    const wanted = 'error' in agent ? Number.NaN : Number(agent.status.facts.mtu)
    const pods = links.filter(({ alias }) => alias?.startsWith(POD_ALIAS_PREFIX))
    const tooLarge = pods.filter((link) => link.mtu > wanted)
    if (tooLarge.length > 0) {
      findings.push({
        level: 'warning',
        found: `${tooLarge.length} pods have a larger MTU than the ${wanted} that the way between nodes carries: ${tooLarge.map(({ name }) => name).join(', ')}`,
        means:
          'their large packets to other nodes are refused with an ICMP message; software that ignores it hangs',
        do: 'restart these pods, if the MTU does not change by itself within a minute',
      })
    }
    return findings
  },
}
