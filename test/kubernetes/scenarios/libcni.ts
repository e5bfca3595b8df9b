// What a container runtime can ask of our plug-in, asked through the real libcni: every verb in every version, with cached results, and
// reference plug-ins chained behind ours.
import type { Cluster } from '../cluster.ts'
import type { ClusterNode } from '../node.ts'
import { Runtime, withNetworkNamespaces } from './attachments.ts'
import { assertRate } from './bandwidth.ts'
import type { Scenario } from './scenario.ts'

const VERSIONS = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const
/** CHECK came with it. */
const FIRST_CHECKED = '0.4.0'
/** STATUS and GC came with it; Debian's reference plug-ins end before. */
const NEWEST = '1.1.0'
/** Bits per second. */
const RATE = 8_000_000

async function allVerbs(cluster: Cluster): Promise<string> {
  const node = cluster.node(1)
  const ids = ['libcni-one', 'libcni-two']
  return withNetworkNamespaces(node, ids, async () => {
    try {
      for (const version of VERSIONS) {
        const runtime = new Runtime(node, { version })
        await verbs(runtime, ids, version, cluster.plan.podRanges.length)
      }
      await collected(node, ids)
      await chained(cluster, node, ids)
      await bandwidthBehind(node, ids)
    } finally {
      await new Runtime(node).ask(...ids.map((id) => ({ verb: 'DEL', id })))
    }
    return VERSIONS.join(', ')
  })
}

async function verbs(runtime: Runtime, ids: readonly string[], version: string, families: number) {
  const [one = '', two = ''] = ids
  const [, added, cached] = await runtime.ask(
    { verb: 'VALIDATE' },
    { verb: 'ADD', id: one },
    { verb: 'CACHED', id: one },
    ...(version >= FIRST_CHECKED ? [{ verb: 'CHECK', id: one }] : []),
    { verb: 'ADD', id: two },
  )
  const addresses = added?.result?.ips ?? []
  if (addresses.length !== families) throw new Error(`ADD gave ${JSON.stringify(addresses)}`)
  if (JSON.stringify(cached?.result?.ips) !== JSON.stringify(addresses)) {
    throw new Error(`the cached result differs: ${JSON.stringify(cached?.result)}`)
  }
  if (version === NEWEST) await runtime.ask({ verb: 'STATUS' })
  // Twice: a runtime repeats a DEL whose answer it did not hear.
  await runtime.ask(...[one, two, one].map((id) => ({ verb: 'DEL', id })))
}

/** What a runtime has forgotten, GC removes: by itself, since libcni sends a DEL for what it knows. What is valid stays. */
async function collected(node: ClusterNode, [valid = '', forgotten = '']: readonly string[]) {
  const before = new Runtime(node, { version: NEWEST, cache: 'before' })
  const runtime = new Runtime(node, { version: NEWEST })
  await before.ask({ verb: 'ADD', id: forgotten }, { verb: 'CHECK', id: forgotten })
  await runtime.ask(
    { verb: 'ADD', id: valid },
    { verb: 'GC', valid: [{ containerID: valid, ifname: 'eth0' }] },
    { verb: 'CHECK', id: valid },
  )
  const said = await before.refusal({ verb: 'CHECK', id: forgotten })
  if (!said.includes('no allocation')) throw new Error(`after GC, CHECK says ${said}`)
  await runtime.ask({ verb: 'DEL', id: valid })
}

/** A host port, a sysctl and firewall rules by the reference plug-ins, on a device that is ours. */
async function chained(cluster: Cluster, node: ClusterNode, ids: readonly string[]) {
  const id = ids[0] ?? ''
  const behind = [
    { type: 'portmap', capabilities: { portMappings: true } },
    { type: 'tuning', sysctl: { 'net.ipv4.conf.all.log_martians': '1' } },
    { type: 'firewall' },
  ]
  const runtime = new Runtime(node, {
    behind,
    version: '1.0.0',
    capabilities: { portMappings: [{ hostPort: 8090, containerPort: 8080, protocol: 'tcp' }] },
  })
  const [added] = await runtime.ask({ verb: 'ADD', id })
  // Debian 12's portmap looks for IPv4 rules where there are none, and for them among those of IPv6.
  if (cluster.plan.families === 'ipv4') await runtime.ask({ verb: 'CHECK', id })
  if (added?.result?.ips?.length !== cluster.plan.podRanges.length) {
    throw new Error(`ADD gave ${JSON.stringify(added?.result)}`)
  }
  await runtime.ask({ verb: 'DEL', id }, { verb: 'DEL', id })
}

/** Limits to the pod, which it can have (docs/bandwidth.md): its bucket stands on the device that we made, and goes with it. */
async function bandwidthBehind(node: ClusterNode, [id = '']: readonly string[]) {
  const limit = { type: 'bandwidth', ingressRate: RATE, ingressBurst: RATE }
  const runtime = new Runtime(node, { behind: [limit], version: '1.0.0' })
  const [added] = await runtime.ask({ verb: 'ADD', id })
  const device = added?.result?.interfaces?.find(({ sandbox = '' }) => sandbox === '')?.name ?? ''
  await assertRate(node, device, RATE)
  await runtime.ask({ verb: 'DEL', id }, { verb: 'DEL', id })
}

export const libcni: readonly Scenario[] = [
  { name: 'every verb in every CNI version through libcni, alone and chained', run: allVerbs },
]
