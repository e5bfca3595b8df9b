// Two nodes and three pods on real devices, by hand: namespaces, veth and VXLAN made with `ip`, our programs on their hooks.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { counterIndex, OUTCOMES, PLACES, type Place } from '../src/drop-reasons.ts'
import {
  BpfObject,
  type BpfProgram,
  TcAttachment,
  type TcMode,
  TypedMap,
  TypedPerCpuMap,
  XdpAttachment,
  type XdpMode,
} from '../src/index.ts'
import {
  CONFIG_READY,
  CONFIG_TUNNEL_IPV6,
  config,
  counter,
  ENDPOINT_LOCAL_POD,
  ENDPOINT_NODE_OWN,
  endpoint,
  flow,
  flowKey,
  ipcacheEntry,
  NODE_VALID,
  node,
  prefixKey,
} from '../src/layouts.ts'
import { OBJECTS, objectPath } from '../src/objects.ts'
import { addr, u32 } from '../src/struct.ts'
import { mountBpffs, netnsName, type PrivateBpffs } from '../testing/index.ts'

export interface PodSpec {
  readonly name: string
  readonly addresses: readonly [v4: string, v6: string]
  readonly mac: string
  readonly hostMac: string
}

interface NodeSpec {
  readonly id: number
  /** Underlay addresses. */
  readonly internal: readonly [v4: string, v6: string]
  readonly ranges: readonly [v4: string, v6: string]
  /** The node's own addresses in its ranges. */
  readonly own: readonly [v4: string, v6: string]
  readonly overlayMac: string
  readonly pods: readonly PodSpec[]
}

export const pods = {
  a: {
    name: 'a',
    addresses: ['10.244.1.10', 'fd00:1::10'],
    mac: '02:00:00:00:01:0a',
    hostMac: '02:00:00:00:01:01',
  },
  b: {
    name: 'b',
    addresses: ['10.244.1.11', 'fd00:1::11'],
    mac: '02:00:00:00:01:0b',
    hostMac: '02:00:00:00:01:02',
  },
  c: {
    name: 'c',
    addresses: ['10.244.2.10', 'fd00:2::10'],
    mac: '02:00:00:00:02:0a',
    hostMac: '02:00:00:00:02:01',
  },
} as const satisfies Record<string, PodSpec>

export const nodes: readonly [NodeSpec, NodeSpec] = [
  {
    id: 1,
    internal: ['192.0.2.1', '2001:db8::1'],
    ranges: ['10.244.1.0/24', 'fd00:1::/64'],
    own: ['10.244.1.1', 'fd00:1::1'],
    overlayMac: '02:00:00:00:10:01',
    pods: [pods.a, pods.b],
  },
  {
    id: 2,
    internal: ['192.0.2.2', '2001:db8::2'],
    ranges: ['10.244.2.0/24', 'fd00:2::/64'],
    own: ['10.244.2.1', 'fd00:2::1'],
    overlayMac: '02:00:00:00:10:02',
    pods: [pods.c],
  },
]

const OVERLAY = 'sb-vxlan'
const UPLINK = 'eth0'
const GATEWAYS = ['169.254.1.1', 'fe80::1'] as const
/** 1500 less what VXLAN over IPv6 adds. */
const MTU = 1430
const VNI = 1
export const TUNNEL_PORT = 8472
const bits = [32, 128] as const

function ip(netns: string, ...args: string[]): string {
  return execFileSync('ip', ['-n', netns, ...args], { encoding: 'utf8', stdio: 'pipe' })
}

/** One side: its namespace, its maps, its programs. */
export class LiveNode {
  readonly spec: NodeSpec
  readonly netns: string
  readonly #bpffs: PrivateBpffs
  readonly #objects = new Map<string, BpfObject>()
  readonly #mode: TcMode
  readonly #namespace: NetworkNamespace
  readonly #netlink: RouteNetlink

  constructor(spec: NodeSpec, netns: string, mode: TcMode) {
    this.spec = spec
    this.netns = netns
    this.#mode = mode
    this.#bpffs = mountBpffs()
    execFileSync('ip', ['netns', 'add', netns])
    this.#namespace = NetworkNamespace.open(`/run/netns/${netns}`)
    this.#netlink = RouteNetlink.open({ netns: this.#namespace })
    ip(netns, 'link', 'set', 'lo', 'up')
    this.sysctl('net.ipv4.ip_forward', '1')
    this.sysctl('net.ipv6.conf.all.forwarding', '1')
    this.sysctl('net.ipv4.conf.all.rp_filter', '0')
  }

  async load(): Promise<void> {
    mkdirSync(join(this.#bpffs.path, 'links'))
    for (const name of OBJECTS.filter((one) => !/sockets$/.test(one))) {
      const object = BpfObject.open(objectPath(name), {
        pinDir: join(this.#bpffs.path, 'maps'),
        maxEntries: { sb_flows: 4096 },
      })
      this.#objects.set(name, object)
      await object.load()
    }
  }

  program(name: string): BpfProgram {
    const object = this.#objects.get(name.replace(/^sb_/, ''))
    if (object === undefined) throw new TypeError(`no object has ${name}`)
    return object.program(name)
  }

  map(name: string) {
    for (const { maps } of this.#objects.values()) {
      const found = maps.find(({ info }) => info.name === name)
      if (found !== undefined) return found
    }
    throw new TypeError(`no map ${name}`)
  }

  get config() {
    return new TypedMap(this.map('sb_config'), u32, config)
  }

  get nodes() {
    return new TypedMap(this.map('sb_nodes'), u32, node)
  }

  get nodeIds() {
    return new TypedMap(this.map('sb_node_ids'), addr, u32)
  }

  get ipcache() {
    return new TypedMap(this.map('sb_ipcache'), prefixKey, ipcacheEntry)
  }

  get endpoints() {
    return new TypedMap(this.map('sb_endpoints'), addr, endpoint)
  }

  get flows() {
    return new TypedMap(this.map('sb_flows'), flowKey, flow)
  }

  /** Packets counted so far, by 'place/outcome'; those that are zero are absent. */
  counts(): Map<string, number> {
    const counters = new TypedPerCpuMap(this.map('sb_counters'), u32, counter)
    const found = new Map<string, number>()
    for (const [at, place] of PLACES.entries()) {
      for (const { number, name } of OUTCOMES) {
        const perCpu = counters.get(counterIndex(at, number)) ?? []
        const packets = perCpu.reduce((sum, one) => sum + Number(one.packets), 0)
        if (packets > 0) found.set(`${place}/${name}`, packets)
      }
    }
    return found
  }

  count(place: Place, outcome: string): number {
    return this.counts().get(`${place}/${outcome}`) ?? 0
  }

  ifindex(device: string): number {
    const [link] = JSON.parse(ip(this.netns, '-j', 'link', 'show', device)) as { ifindex: number }[]
    if (link === undefined) throw new TypeError(`no device ${device}`)
    return link.ifindex
  }

  ip(...args: string[]): string {
    return ip(this.netns, ...args)
  }

  exec(command: string, ...args: string[]): string {
    return execIn(this.netns, command, ...args)
  }

  sysctl(name: string, value: string): void {
    this.exec('sysctl', '-qw', `${name}=${value}`)
  }

  async attach(device: string, direction: 'ingress' | 'egress', program: string): Promise<void> {
    await TcAttachment.attach({
      ifindex: this.ifindex(device),
      direction,
      program: this.program(program),
      mode: this.#mode,
      pinPath: join(this.#bpffs.path, 'links', `${device}_${direction}`),
      priority: 1,
      handle: 1,
      name: program,
      netlink: this.#netlink,
      netns: this.#namespace,
    })
  }

  /** sb_xdp_uplink; without a mode it is taken off. */
  async attachXdp(device: string, mode?: XdpMode): Promise<void> {
    const hook = {
      ifindex: this.ifindex(device),
      netns: this.#namespace,
      pinPath: join(this.#bpffs.path, 'links', `${device}_xdp`),
    }
    if (mode === undefined) await XdpAttachment.detach(hook)
    else await XdpAttachment.attach({ ...hook, program: this.program('sb_xdp_uplink'), mode })
  }

  close(): void {
    this.#netlink.close()
    this.#namespace.close()
    for (const object of this.#objects.values()) object.close()
    execFileSync('ip', ['netns', 'del', this.netns])
    this.#bpffs.unmount()
  }
}

/** No test waits for a time; this ends one that hangs. Emulated kernels need minutes for what takes seconds. */
export const SLOW_MS = 300_000

/** What ping printed, also if nothing came back. */
export function pingIn(netns: string, address: string, ...options: string[]): string {
  try {
    return execIn(netns, 'ping', '-n', '-c', '1', '-W', '2', ...options, address)
  } catch (error) {
    if (error instanceof Error && 'stdout' in error) return String(error.stdout)
    throw error
  }
}

export function execIn(netns: string, command: string, ...args: string[]): string {
  return execFileSync('ip', ['netns', 'exec', netns, command, ...args], {
    encoding: 'utf8',
    stdio: 'pipe',
    timeout: SLOW_MS,
  })
}

const talker = [process.execPath, join(import.meta.dirname, 'talker.ts')] as const
/** One that asks: an answer that never comes must not take the rest of the suite's time. */
export const asker = [
  'timeout',
  `${30 * Number(process.env.SINABRO_SLOWNESS ?? 1)}`,
  ...talker,
] as const
export const SERVER_PORT = 8080

/** Answers TCP and UDP at each of them; for the caller to kill. */
export async function serveIn(netns: string, addresses: readonly string[]): Promise<ChildProcess> {
  const argv = ['netns', 'exec', netns, ...talker, 'serve', `${SERVER_PORT}`, ...addresses]
  const server = spawn('ip', argv, { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(server.stdout, 'data')
  return server
}

/** UDP from any namespace, and from a port if one is named. */
export function echoIn(netns: string, address: string, bytes: number, from = 0): string {
  const argv = ['echo', address, `${SERVER_PORT}`, `${bytes}`, `${from}`]
  return execIn(netns, ...talker, ...argv).trim()
}

export class TwoNodes {
  readonly nodes: readonly [LiveNode, LiveNode]
  readonly #prefix: string
  readonly #podNamespaces: string[] = []
  readonly #servers: ChildProcess[] = []

  private constructor(prefix: string, mode: TcMode) {
    this.#prefix = prefix
    const [one, two] = nodes
    this.nodes = [new LiveNode(one, `${prefix}-n1`, mode), new LiveNode(two, `${prefix}-n2`, mode)]
  }

  /** Up and complete, the tunnel over that family, the programs on that kind of hook. */
  static async up(options: { readonly outer: 4 | 6; readonly mode: TcMode }): Promise<TwoNodes> {
    const { outer, mode } = options
    const world = new TwoNodes(netnsName(), mode)
    try {
      world.#wireUnderlay()
      for (const [i, live] of world.nodes.entries()) {
        await live.load()
        await wireOverlay(live, world.nodes[1 - i] ?? live, outer)
        for (const pod of live.spec.pods) await world.#wirePod(live, pod)
      }
      return world
    } catch (error) {
      world.close()
      throw error
    }
  }

  netnsOf(pod: PodSpec): string {
    return `${this.#prefix}-${pod.name}`
  }

  /** Runs in a pod; what it prints. Throws if it fails. */
  exec(pod: PodSpec, command: string, ...args: string[]): string {
    return execIn(this.netnsOf(pod), command, ...args)
  }

  /** Answers TCP and UDP on each address; ends with the world. */
  async serve(pod: PodSpec): Promise<void> {
    this.#servers.push(await serveIn(this.netnsOf(pod), pod.addresses))
  }

  /** TCP: so many bytes from there; 'COUNT true' if they are the right ones. */
  fetch(pod: PodSpec, address: string, bytes: number, port = SERVER_PORT, request = 0): string {
    return this.exec(pod, ...talker, 'fetch', address, `${port}`, `${bytes}`, `${request}`).trim()
  }

  /** UDP: a datagram of that size there and back. */
  echo(pod: PodSpec, address: string, bytes: number): string {
    return echoIn(this.netnsOf(pod), address, bytes)
  }

  /** UDP: what a datagram to a port of nobody is answered with. */
  refused(pod: PodSpec, address: string, port = 9): string {
    return this.exec(pod, ...talker, 'refused', address, `${port}`).trim()
  }

  /** What ping printed, also if nothing came back. */
  ping(pod: PodSpec, address: string, ...options: string[]): string {
    return pingIn(this.netnsOf(pod), address, ...options)
  }

  close(): void {
    for (const server of this.#servers) server.kill('SIGKILL')
    for (const netns of this.#podNamespaces) execFileSync('ip', ['netns', 'del', netns])
    for (const live of this.nodes) live.close()
  }

  #wireUnderlay(): void {
    const [one, two] = this.nodes
    one.ip('link', 'add', UPLINK, 'type', 'veth', 'peer', 'name', UPLINK, 'netns', two.netns)
    for (const { netns, spec } of this.nodes) {
      const [v4, v6] = spec.internal
      ip(netns, 'addr', 'add', `${v4}/24`, 'dev', UPLINK)
      ip(netns, 'addr', 'add', `${v6}/64`, 'dev', UPLINK, 'nodad')
      ip(netns, 'link', 'set', UPLINK, 'up')
    }
  }

  async #wirePod(live: LiveNode, pod: PodSpec): Promise<void> {
    const netns = this.netnsOf(pod)
    const device = `sb-${pod.name}`
    execFileSync('ip', ['netns', 'add', netns])
    this.#podNamespaces.push(netns)
    ip(netns, 'link', 'set', 'lo', 'up')
    const link = ['link', 'add', device, 'address', pod.hostMac, 'mtu', `${MTU}`, 'type', 'veth']
    const peer = ['peer', 'name', 'eth0', 'address', pod.mac, 'mtu', `${MTU}`, 'netns', netns]
    live.ip(...link, ...peer)
    await live.attach(device, 'ingress', 'sb_from_pod')
    await live.attach(device, 'egress', 'sb_to_pod')
    const row = {
      ifindex: live.ifindex(device),
      id: 100 + live.ifindex(device),
      incarnation: 1,
      flags: ENDPOINT_LOCAL_POD,
      podMac: pod.mac,
      hostMac: pod.hostMac,
      mtu: MTU,
    }
    execIn(netns, 'sysctl', '-qw', 'net.ipv6.conf.eth0.accept_dad=0')
    live.ip('link', 'set', device, 'up')
    ip(netns, 'link', 'set', 'eth0', 'up')
    for (const [f, address] of pod.addresses.entries()) {
      const gateway = GATEWAYS[f] ?? ''
      live.endpoints.set(address, row)
      ip(netns, 'addr', 'add', `${address}/${bits[f]}`, 'dev', 'eth0', ...(f ? ['nodad'] : []))
      ip(netns, 'route', 'add', gateway, 'dev', 'eth0', 'scope', 'link')
      const source = f ? [] : ['src', address]
      ip(netns, 'route', 'add', 'default', 'via', gateway, 'dev', 'eth0', ...source)
      ip(netns, 'neigh', 'add', gateway, 'lladdr', pod.hostMac, 'dev', 'eth0', 'nud', 'permanent')
      live.ip('route', 'add', `${address}/${bits[f]}`, 'dev', device)
      live.ip('neigh', 'add', address, 'lladdr', pod.mac, 'dev', device, 'nud', 'permanent')
    }
  }
}

async function wireOverlay(live: LiveNode, peer: LiveNode, outer: 4 | 6): Promise<void> {
  const { spec } = live
  const mac = spec.overlayMac
  live.ip(
    'link',
    'add',
    OVERLAY,
    'address',
    mac,
    'mtu',
    `${MTU}`,
    'type',
    'vxlan',
    'external',
    'dstport',
    `${TUNNEL_PORT}`,
  )
  await live.attach(OVERLAY, 'ingress', 'sb_from_overlay')
  await live.attach(OVERLAY, 'egress', 'sb_to_overlay')
  live.ip('link', 'set', OVERLAY, 'up')
  for (const [f, own] of spec.own.entries()) {
    const via = peer.spec.own[f] ?? ''
    live.ip('addr', 'add', `${own}/${bits[f]}`, 'dev', OVERLAY, ...(f ? ['nodad'] : []))
    live.ip('neigh', 'add', via, 'lladdr', peer.spec.overlayMac, 'dev', OVERLAY, 'nud', 'permanent')
    const route = ['route', 'add', peer.spec.ranges[f] ?? '', 'via', via, 'dev', OVERLAY]
    live.ip(...route, 'onlink', 'src', own)
    const row = { ifindex: 0, id: 0, incarnation: 0, flags: ENDPOINT_NODE_OWN, mtu: 0 }
    const macs = { podMac: '00:00:00:00:00:00', hostMac: '00:00:00:00:00:00' }
    for (const address of [own, spec.internal[f] ?? '']) {
      live.endpoints.set(address, { ...row, ...macs })
    }
  }
  for (const { spec: other } of [live, peer]) {
    live.nodes.set(other.id, {
      tunnel: other.internal[outer === 4 ? 0 : 1],
      mac: other.overlayMac,
      mtu: MTU,
      flags: NODE_VALID,
    })
    for (const range of other.ranges) {
      const [address = '', length] = range.split('/')
      const prefixLen = Number(length) + (address.includes(':') ? 0 : 96)
      live.ipcache.set({ prefixLen, addr: address }, { node: other.id, identity: 0, flags: 0 })
    }
  }
  for (const address of peer.spec.internal) live.nodeIds.set(address, peer.spec.id)
  live.config.set(0, {
    generation: 1,
    flags: CONFIG_READY | (outer === 6 ? CONFIG_TUNNEL_IPV6 : 0),
    ownNode: spec.id,
    overlayIfindex: live.ifindex(OVERLAY),
    vni: VNI,
    overlayMac: mac,
    tunnelPort: TUNNEL_PORT,
    uplinkIfindex: 0,
    tunnelLocal4: spec.internal[0],
    tunnelLocal6: spec.internal[1],
    portMin: 32768,
    portMax: 65535,
  })
}
