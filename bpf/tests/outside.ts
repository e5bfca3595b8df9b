// What lies outside of the vectors' world: an uplink with the node's addresses and routes by it, in a namespace of its own.
import { execFileSync } from 'node:child_process'
import { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import {
  CONFIG_MASQUERADE,
  CONFIG_READY,
  CONFIG_TRANSLATED,
  type Config,
  FLOW_OPENER,
  FLOW_SEEN,
  FLOW_TRANSLATED,
} from '../src/layouts.ts'
import type { Rows } from '../testing/index.ts'
import { SERVICES } from './service-rows.ts'
import {
  type FlowSpec,
  flowExpected,
  flowRow,
  INCARNATION_A,
  ipv4,
  ipv6,
  keyOf,
  loadWorld,
  readyConfig,
  type Shapes,
  type World,
  type WorldOptions,
} from './world.ts'

const TCP = 6
export const MASQUERADE = CONFIG_READY | CONFIG_MASQUERADE | CONFIG_TRANSLATED
export const UPLINK_MTU = 1500

const gateways = ['192.0.2.254', '2001:db8::fe'] as const
/** Of whom routes say that nobody can be reached. */
export const unreachable = { 4: '203.0.113.9', 6: '2001:db8:dead::9' } as const

/** Whom routes reach by a device that is no uplink of ours. */
export const elsewhere = { 4: '203.0.113.50', 6: '2001:db8:beef::50' } as const

/** Whom a rule about pod a's own address reaches by the second uplink, and every other sender by the first. */
export const ruled = { 4: '203.0.113.60', 6: '2001:db8:77::9' } as const

/** Nobody answers there: routes, addresses and sockets are all that programs ask it for. */
export class Outside {
  readonly netns: NetworkNamespace
  readonly netlink: RouteNetlink
  readonly uplink: number
  /** Routes lead there for nobody, at first. */
  readonly second: number
  readonly #other: number

  private constructor(netns: NetworkNamespace, netlink: RouteNetlink, devices: readonly number[]) {
    this.netns = netns
    this.netlink = netlink
    this.uplink = devices[0] ?? 0
    this.second = devices[1] ?? 0
    this.#other = devices[2] ?? 0
  }

  static async open(): Promise<Outside> {
    const netns = NetworkNamespace.create()
    const netlink = RouteNetlink.open({ netns })
    await netlink.links.set({ name: 'lo' }, { isUp: true })
    netns.writeFile('/proc/sys/net/ipv4/ip_forward', '1')
    netns.writeFile('/proc/sys/net/ipv6/conf/all/forwarding', '1')
    const devices: number[] = []
    for (const name of ['up0', 'up1', 'other']) {
      await netlink.links.add({ kind: 'veth', name, peer: { name: `${name}-far` } })
      await netlink.links.set({ name: `${name}-far` }, { isUp: true })
      await netlink.links.set({ name }, { isUp: true })
      const link = await netlink.links.get({ name })
      devices.push(link?.index ?? 0)
    }
    const outside = new Outside(netns, netlink, devices)
    await outside.#setRoutes()
    return outside
  }

  get uplinks() {
    const row = { source4: ipv4.node1, source6: ipv6.node1, mtu: UPLINK_MTU, flags: 0 }
    return [this.uplink, this.second].map((index) => [index, row] as const)
  }

  /** Rows of a node that masquerades by it. */
  get rows(): Rows<Shapes> {
    const sb_config = [[0, { ...readyConfig, flags: MASQUERADE }]] as const
    return { sb_config, sb_uplinks: this.uplinks }
  }

  /** Both rows of a flow from pod a that left by the uplink, as a test expects to find them. */
  opened(flow: FlowSpec, port: number, node?: string) {
    const { key, row, back, backRow } = this.#pair(flow, port, node)
    const flags = flow.proto === TCP ? row.flags & ~FLOW_SEEN : row.flags
    return [
      [key, flowExpected({ ...row, flags })],
      [back, flowExpected(backRow)],
    ] as const
  }

  /** The same rows, as if it had been so for long. */
  standing(
    flow: FlowSpec,
    port: number,
    changes: { readonly generation?: number } = {},
    node?: string,
  ) {
    const { key, row, back, backRow } = this.#pair(flow, port, node)
    return [
      [key, flowRow({ ...row, ...changes })],
      [back, flowRow({ ...backRow, ...changes })],
    ] as const
  }

  close(): void {
    this.netlink.close()
    this.netns.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #pair(flow: FlowSpec, port: number, named?: string) {
    const { source, target, sport = 0, dport = 0, icmpClass = 0 } = flow
    const node = named ?? (source.includes(':') ? ipv6.node1 : ipv4.node1)
    const far = icmpClass === 0 ? dport : port
    const back = { ...flow, source: target, target: node, sport: far, dport: port }
    return {
      key: keyOf(flow),
      row: {
        kind: 'out',
        node: this.uplink,
        sourceIncarnation: INCARNATION_A,
        flags: FLOW_SEEN | FLOW_OPENER | FLOW_TRANSLATED,
        to: { saddr: node, daddr: target, sport: port, dport: far },
        mtu: UPLINK_MTU,
      },
      back: keyOf(back),
      backRow: {
        kind: 'local',
        targetIncarnation: INCARNATION_A,
        flags: FLOW_TRANSLATED,
        to: { saddr: target, daddr: source, sport: dport, dport: sport },
      },
    } as const
  }

  async #setRoutes(): Promise<void> {
    const { netlink, uplink: index } = this
    await netlink.addresses.replace({ index, address: ipv4.node1, prefixLen: 24 })
    await netlink.addresses.replace({ index, address: ipv6.node1, prefixLen: 64, flags: ['nodad'] })
    for (const [f, via] of gateways.entries()) {
      await netlink.routes.replace({ dst: f === 0 ? '0.0.0.0/0' : '::/0', via, index })
      const [bits, family] = f === 0 ? ([32, 4] as const) : ([128, 6] as const)
      await netlink.routes.replace({ dst: `${unreachable[family]}/${bits}`, type: 'unreachable' })
      await netlink.routes.replace({ dst: `${elsewhere[family]}/${bits}`, index: this.#other })
      const pod = family === 4 ? ipv4.a : ipv6.a
      this.#ip(`-${family}`, 'rule', 'add', 'from', pod, 'lookup', '77')
      this.#ip(`-${family}`, 'route', 'add', ruled[family], 'dev', 'up1', 'table', '77')
    }
  }

  #ip(...args: readonly string[]): void {
    const netns = `--net=/proc/${process.pid}/fd/${this.netns.fd}`
    execFileSync('nsenter', [netns, 'ip', ...args], { stdio: 'pipe' })
  }
}

/** What lies outside of a node that serves, and the node. Whoever asks closes both. */
export async function openServing(
  config: Partial<Config> = {},
  options: Omit<WorldOptions, 'rows' | 'netns'> = {},
): Promise<{ readonly outside: Outside; readonly world: World }> {
  const outside = await Outside.open()
  const sb_config = [[0, { ...readyConfig, flags: SERVICES, ...config }]] as const
  const rows = { sb_config, sb_uplinks: outside.uplinks }
  return { outside, world: await loadWorld({ ...options, rows, netns: outside.netns }) }
}
