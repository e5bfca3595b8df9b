// ADD and DEL from exec to exit, called inside a lab node: ours against Debian's ptp and bridge plug-ins with host-local.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Lab } from '../lab/index.ts'
import { Runtime } from '../lab/runtime.ts'
import { type Bench, type BenchContext, LAB_NAME } from './bench.ts'
import { compile } from './compile.ts'
import { ownPlugin, type Plugin, PluginCaller, referencePlugin } from './plugins.ts'
import { type BenchRow, compare, median, percentile, type Side } from './row.ts'

const CALLS = 40
/** Of the reference in dual stack, whose every call waits for duplicate address detection. */
const SLOW_CALLS = 3
const AT_ONCE = 110
const SUBNETS = ['10.240.0.0/23', 'fd00:240::/64']
const lower = { unit: 'ms', better: 'lower' } as const

export const cniAdd: Bench = {
  name: 'cni-add',
  async run(context) {
    const caller = await compile('plugin-caller', context.dir)
    await using ipv4 = await stand(context, caller, 'ipv4')
    await using dual = await stand(context, caller, 'dual')
    return [...(await serialIpv4(context, ipv4)), ...(await dualStack(context, ipv4, dual))]
  },
}

/** One node with an agent, and the plug-ins on it. */
interface Stand extends AsyncDisposable {
  readonly caller: PluginCaller
  readonly own: Plugin
  reference(type: 'ptp' | 'bridge'): Plugin
}

async function stand(
  { dir, say }: BenchContext,
  caller: string,
  families: 'ipv4' | 'dual',
): Promise<Stand> {
  const lab = await Lab.up({
    name: `${LAB_NAME}-${families}`,
    nodes: 1,
    families,
    canReplace: true,
  })
  try {
    const node = lab.node(1)
    node.agent.start({ from: 'bundle' })
    await node.agent.waitReady()
    say(`${families}: one node, agent from the bundle; calls are made inside the node`)
    const own = join(dir, families)
    mkdirSync(own, { recursive: true })
    return {
      caller: new PluginCaller(node, caller, own),
      own: ownPlugin(new Runtime(node.machine).networkList()),
      reference(type) {
        const subnets = families === 'dual' ? SUBNETS : SUBNETS.slice(0, 1)
        return referencePlugin(type, subnets, join(own, type))
      },
      [Symbol.asyncDispose]: () => lab.down(),
    }
  } catch (error) {
    await lab.down()
    throw error
  }
}

async function serialIpv4({ runs }: BenchContext, ipv4: Stand): Promise<BenchRow[]> {
  const { caller, own } = ipv4
  const side = (plugin: Plugin, peer: string): Side => ({
    name: plugin.name,
    async measure() {
      const calls = await caller.containers(CALLS)
      const add = await caller.call('ADD', plugin, calls)
      const del = await caller.call('DEL', plugin, calls)
      return {
        [`IPv4 p50 ${peer}`]: median(add.each),
        [`IPv4 p99 ${peer}`]: percentile(add.each, 99),
        [`DEL p50 ${peer}`]: median(del.each),
      }
    },
  })
  const rows: BenchRow[] = []
  for (const peer of ['ptp', 'bridge'] as const) {
    const names = peer === 'ptp' ? ['IPv4 p50', 'IPv4 p99', 'DEL p50'] : ['IPv4 p50']
    const metrics = Object.fromEntries(names.map((name) => [`${name} ${peer}`, lower]))
    const sides = { ours: side(own, peer), peer: side(ipv4.reference(peer), peer) }
    rows.push(...(await compare('cni-add', metrics, sides, runs)))
  }
  return rows
}

async function dualStack({ runs }: BenchContext, ipv4: Stand, dual: Stand): Promise<BenchRow[]> {
  const serial = (
    at: Stand,
    plugin: Plugin,
    name: string,
    count: number,
    metric: string,
  ): Side => ({
    name,
    async measure() {
      const calls = await at.caller.containers(count)
      const { each } = await at.caller.call('ADD', plugin, calls)
      await at.caller.call('DEL', plugin, calls)
      return { [metric]: median(each) }
    },
  })
  const atOnce = (plugin: Plugin): Side => ({
    name: plugin.name,
    async measure() {
      const calls = await dual.caller.containers(AT_ONCE)
      const { total } = await dual.caller.call('ADD', plugin, calls, 'at-once')
      await dual.caller.call('DEL', plugin, calls, 'at-once')
      return { [AT_ONCE_PTP]: total }
    },
  })
  const ptp = dual.reference('ptp')
  const against = async (metric: string, ours: Side, peer: Side) =>
    await compare('cni-add', { [metric]: lower }, { ours, peer }, runs)
  return [
    ...(await against(
      OWN_DUAL,
      serial(dual, dual.own, 'sinabro', CALLS, OWN_DUAL),
      serial(ipv4, ipv4.own, 'sinabro, IPv4 alone', CALLS, OWN_DUAL),
    )),
    ...(await against(
      DUAL_PTP,
      serial(dual, dual.own, 'sinabro', CALLS, DUAL_PTP),
      serial(dual, ptp, ptp.name, SLOW_CALLS, DUAL_PTP),
    )),
    ...(await against(AT_ONCE_PTP, atOnce(dual.own), atOnce(ptp))),
  ]
}

const OWN_DUAL = 'dual stack p50 own IPv4'
const DUAL_PTP = 'dual stack p50 ptp'
const AT_ONCE_PTP = `${AT_ONCE} at once dual stack ptp`
