// Two ways to connect the same pods, two on one node and one on another: ours, and the reference ptp plug-in over a kernel VXLAN.
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { CommandResult } from '../lab/command.ts'
import { Lab, LabError, type LabNode } from '../lab/index.ts'
import { Runtime } from '../lab/runtime.ts'
import { compile } from './compile.ts'
import { ownPlugin, type Plugin, PluginCaller, referencePlugin } from './plugins.ts'

export interface BenchPod {
  exec(argv: readonly string[]): Promise<CommandResult>
  spawn(argv: readonly string[]): ChildProcess
  readonly address: string
}

export interface Route {
  readonly from: BenchPod
  readonly address: string
}

export interface PodStand extends AsyncDisposable {
  readonly routes: { readonly sameNode: Route; readonly across: Route }
  /** Starts the load's servers in the pods that are called. */
  serve(load: string): Promise<void>
  /** Loads nftables rules on every node; what the first one then lists. */
  loadRules(rules: string): Promise<unknown>
}

/** Both ends of every measurement run on it, the kernel's work for them too. */
export const CPU = 1
/** What VXLAN over IPv4 leaves of the underlay's 1500. */
const POD_MTU = 1450
const VNI = 7

export async function ownStand(name: string, dir: string): Promise<PodStand> {
  return await raise(name, dir, async (node) => {
    node.agent.start({ from: 'bundle' })
    await node.agent.waitReady()
    return ownPlugin(new Runtime(node.machine).networkList())
  })
}

export async function routedStand(name: string, dir: string): Promise<PodStand> {
  return await raise(name, dir, async (node, lab) => {
    await joinKernelOverlay(node, lab)
    const subnets = node.plan.podCidrs.slice(0, 1)
    const plugin = referencePlugin('ptp', subnets, join(dir, `${name}-${node.name}`))
    return { ...plugin, config: { ...plugin.config, mtu: POD_MTU } }
  })
}

async function raise(
  name: string,
  dir: string,
  prepare: (node: LabNode, lab: Lab) => Promise<Plugin>,
): Promise<PodStand> {
  const caller = await compile('plugin-caller', dir)
  const lab = await Lab.up({ name, nodes: 2, families: 'ipv4', canReplace: true })
  try {
    const pods = async (node: LabNode, count: number): Promise<BenchPod[]> => {
      const plugin = await prepare(node, lab)
      const runtime = new PluginCaller(node, caller, join(dir, name))
      const calls = await runtime.containers(count)
      await runtime.call('ADD', plugin, calls)
      return await Promise.all(calls.map(({ netns }) => podIn(node, netns)))
    }
    const [a, b] = await pods(lab.node(1), 2)
    const [c] = await pods(lab.node(2), 1)
    if (a === undefined || b === undefined || c === undefined) throw new Error('unreachable')
    return {
      routes: {
        sameNode: { from: a, address: b.address },
        across: { from: a, address: c.address },
      },
      serve: async (load) => {
        for (const pod of [b, c]) await startServer(pod, load)
      },
      loadRules: async (rules) => {
        for (const node of lab.nodes) await node.exec(['nft', '-f', '-'], { input: rules })
        const { stdout } = await lab.node(1).exec(['nft', '-j', 'list', 'ruleset'])
        return JSON.parse(stdout)
      },
      [Symbol.asyncDispose]: () => lab.down(),
    }
  } catch (error) {
    await lab.down()
    throw error
  }
}

async function podIn({ machine }: LabNode, netns: string): Promise<BenchPod> {
  const inside = { netns }
  await machine.exec(['ip', 'link', 'set', 'lo', 'up'], inside)
  const { stdout } = await machine.exec(['ip', '-j', '-4', 'address', 'show', 'eth0'], inside)
  const [link] = JSON.parse(stdout) as { addr_info: { local: string }[] }[]
  const address = link?.addr_info[0]?.local
  if (address === undefined) throw new LabError('absent', `no address in ${netns}`)
  return {
    address,
    exec: (argv) => machine.exec(argv, inside),
    spawn: (argv) => machine.spawn(argv, { ...inside, stdio: ['ignore', 'pipe', 'inherit'] }),
  }
}

async function startServer(pod: BenchPod, load: string): Promise<void> {
  const child = pod.spawn([load, String(CPU), 'serve'])
  if (child.stdout === null) throw new Error('unreachable')
  const lines = createInterface({ input: child.stdout })
  const line = await new Promise<string>((resolve) => {
    lines.once('line', resolve)
    lines.once('close', () => resolve(''))
  })
  if (line !== 'listening') throw new LabError('command', 'the load did not listen')
  child.stdout.destroy()
  child.unref()
}

/** What a routed overlay of the kernel's own looks like: a VXLAN device, and route, neighbour and forwarding entry per node. */
async function joinKernelOverlay(node: LabNode, lab: Lab): Promise<void> {
  const [local = ''] = node.plan.internalIps
  const ip = (...args: string[]) => node.exec(['ip', ...args])
  const id = ['type', 'vxlan', 'id', String(VNI), 'dstport', '4789', 'local', local, 'nolearning']
  await ip('link', 'add', 'vx0', 'address', overlayMac(local), 'mtu', String(POD_MTU), ...id)
  await ip('link', 'set', 'vx0', 'up')
  await ip('address', 'add', `${gateway(node)}/32`, 'dev', 'vx0')
  await node.exec(['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0'])
  for (const peer of lab.nodes.filter((other) => other !== node)) {
    const [remote = ''] = peer.plan.internalIps
    const [range = ''] = peer.plan.podCidrs
    const mac = overlayMac(remote)
    await node.exec(['bridge', 'fdb', 'append', mac, 'dev', 'vx0', 'dst', remote])
    await ip('neigh', 'replace', gateway(peer), 'lladdr', mac, 'dev', 'vx0', 'nud', 'permanent')
    await ip('route', 'replace', range, 'via', gateway(peer), 'dev', 'vx0', 'onlink')
  }
}

function gateway(node: LabNode): string {
  return (node.plan.podCidrs[0] ?? '').split('/')[0] ?? ''
}

/** 02:00 and the four bytes of the address. */
function overlayMac(address: string): string {
  const bytes = address.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'))
  return ['02', '00', ...bytes].join(':')
}
