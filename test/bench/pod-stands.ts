// Ways to connect the same pods, two on one node and one on another, and a host outside: ours in each mode, and the reference ptp plug-in.
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { CommandResult } from '../lab/command.ts'
import { Lab, LabError, type LabNode } from '../lab/index.ts'
import { hostAddresses, OUTSIDE_HOST } from '../lab/plan.ts'
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
  readonly routes: { readonly sameNode: Route; readonly across: Route; readonly outside: Route }
  /** Both of the first node. */
  readonly pods: readonly BenchPod[]
  /** The nodes' router, which knows no way to pods. */
  readonly outside: BenchPod
  /** Starts the load's servers in the pods that are called, and outside. */
  serve(load: string): Promise<void>
  /** sysctl on every node. */
  set(setting: string): Promise<void>
  /** Loads nftables rules on every node; what the first one then lists. */
  loadRules(rules: string): Promise<unknown>
}

/** Both ends of every measurement run on it, the kernel's work for them too. */
export const CPU = 1
/** As our pods have it: what VXLAN over IPv4 leaves of the underlay's 1500. */
const POD_MTU = 1450

export async function ownStand(
  name: string,
  dir: string,
  args: readonly string[] = [],
): Promise<PodStand> {
  return await raise(name, dir, async (node) => {
    node.agent.start({ from: 'bundle', args })
    await node.agent.waitReady()
    return ownPlugin(new Runtime(node.machine).networkList())
  })
}

/** Its nodes do not know of each other. */
export async function routedStand(name: string, dir: string): Promise<PodStand> {
  return await raise(name, dir, async (node) => {
    await node.exec(['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0'])
    const subnets = node.plan.podCidrs.slice(0, 1)
    const plugin = referencePlugin('ptp', subnets, join(dir, `${name}-${node.name}`))
    return { ...plugin, config: { ...plugin.config, mtu: POD_MTU } }
  })
}

async function raise(
  name: string,
  dir: string,
  prepare: (node: LabNode) => Promise<Plugin>,
): Promise<PodStand> {
  const caller = await compile('plugin-caller', dir)
  const lab = await Lab.up({ name, nodes: 2, families: 'ipv4', canReplace: true })
  try {
    const pods = async (node: LabNode, count: number): Promise<BenchPod[]> => {
      const plugin = await prepare(node)
      const runtime = new PluginCaller(node, caller, join(dir, name))
      const calls = await runtime.containers(count)
      await runtime.call('ADD', plugin, calls)
      return await Promise.all(calls.map(({ netns }) => podIn(node, netns)))
    }
    const [a, b] = await pods(lab.node(1), 2)
    const [c] = await pods(lab.node(2), 1)
    if (a === undefined || b === undefined || c === undefined) throw new Error('unreachable')
    const outside = outsideOf(lab)
    return {
      routes: {
        sameNode: { from: a, address: b.address },
        across: { from: a, address: c.address },
        outside: { from: a, address: outside.address },
      },
      pods: [a, b],
      outside,
      serve: async (load) => {
        for (const pod of [b, c, outside]) await startServer(pod, [load, String(CPU), 'serve'])
      },
      set: async (setting) => {
        for (const node of lab.nodes) await node.exec(['sysctl', '-qw', setting])
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

export async function podIn({ machine }: LabNode, netns: string): Promise<BenchPod> {
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

function outsideOf({ outside }: Lab): BenchPod {
  const [{ address } = { address: '' }] = hostAddresses(OUTSIDE_HOST, 'ipv4')
  return {
    address,
    exec: (argv) => outside.exec(argv),
    spawn: (argv) => outside.spawn(argv, { stdio: ['ignore', 'pipe', 'inherit'] }),
  }
}

/** Until it says that it listens. */
export async function startServer(pod: BenchPod, argv: readonly string[]): Promise<void> {
  const child = pod.spawn(argv)
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
