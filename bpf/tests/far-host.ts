// A host far outside of a node of two-nodes.ts, behind a router that has no route to pods; and sends only short packets on to it.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { probeChecksumIpv6, probeFibSource } from '../src/index.ts'
import {
  CONFIG_CSUM_IPV6,
  CONFIG_FIB_SOURCE,
  CONFIG_MASQUERADE,
  CONFIG_TRANSLATED,
  UPLINK_L3,
  uplink,
} from '../src/layouts.ts'
import { u32 } from '../src/struct.ts'
import { TypedMap } from '../src/typed-map.ts'
import { execIn, type LiveNode, serveIn } from './two-nodes.ts'

/** What the node's uplink is: a veth, or a tun device, whose packets begin with IP and have nothing summed. */
export type UplinkKind = 'ethernet' | 'l3'

export const UPLINK = 'up1'
export const ROUTER = ['198.51.100.2', '2001:db8:51::2'] as const
export const OWN = ['198.51.100.1', '2001:db8:51::1'] as const
export const FAR = ['203.0.113.2', '2001:db8:113::2'] as const
/** What the router sends on to the host, which itself sends 1500. */
export const NARROW_MTU = 1400

const TUN = join(import.meta.dirname, '../../test/lab/tun.c')

export class FarHost {
  readonly #router: string
  readonly #far: string
  readonly #children: ChildProcess[] = []
  readonly #folder = mkdtempSync(join(tmpdir(), 'sinabro-far-'))

  private constructor(node: LiveNode) {
    this.#router = `${node.netns}-r`
    this.#far = `${node.netns}-f`
  }

  /** Wired, answering TCP and UDP, and masqueraded towards by the node. */
  static async up(node: LiveNode, kind: UplinkKind): Promise<FarHost> {
    const host = new FarHost(node)
    try {
      host.#wireFar()
      await host.#wireUplink(node, kind)
      host.#children.push(await serveIn(host.#far, FAR))
      await masquerade(node, kind)
      return host
    } catch (error) {
      host.close()
      throw error
    }
  }

  /** Where the host is. */
  get netns(): string {
    return this.#far
  }

  /** The router knows that the node has this address, too. */
  route(address: string): void {
    const via = OWN[address.includes(':') ? 1 : 0]
    ip(this.#router, 'route', 'add', address, 'via', via)
  }

  close(): void {
    for (const child of this.#children) child.kill('SIGKILL')
    for (const netns of [this.#router, this.#far]) {
      execFileSync('ip', ['netns', 'del', netns], { stdio: 'ignore' })
    }
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #wireFar(): void {
    const [router, far] = [this.#router, this.#far]
    for (const netns of [router, far]) {
      execFileSync('ip', ['netns', 'add', netns])
      ip(netns, 'link', 'set', 'lo', 'up')
    }
    execIn(router, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
    ip(router, 'link', 'add', 'far', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', far)
    address(router, 'far', ['203.0.113.1', '2001:db8:113::1'])
    address(far, 'eth0', FAR)
    ip(router, 'link', 'set', 'far', 'up')
    ip(far, 'link', 'set', 'eth0', 'up')
    for (const [f, host] of FAR.entries()) {
      ip(
        router,
        'route',
        'add',
        `${host}/${f === 0 ? 32 : 128}`,
        'dev',
        'far',
        'mtu',
        `${NARROW_MTU}`,
      )
    }
    ip(far, 'route', 'add', 'default', 'via', '203.0.113.1')
    ip(far, 'route', 'add', 'default', 'via', '2001:db8:113::1')
  }

  async #wireUplink(node: LiveNode, kind: UplinkKind): Promise<void> {
    const ends = [node.netns, this.#router] as const
    const wire = kind === 'ethernet' ? UPLINK : 'wire'
    ip(node.netns, 'link', 'add', wire, 'type', 'veth', 'peer', 'name', wire, 'netns', this.#router)
    for (const netns of ends) ip(netns, 'link', 'set', wire, 'up')
    if (kind === 'l3') {
      const carriers = ['fd99::1', 'fd99::2'] as const
      const program = join(this.#folder, 'tun')
      execFileSync('gcc', ['-O2', '-o', program, TUN])
      for (const [i, netns] of ends.entries()) {
        const [here = '', there = ''] = i === 0 ? carriers : [...carriers].reverse()
        ip(netns, 'addr', 'add', `${here}/64`, 'dev', wire, 'nodad')
        await this.#start(netns, program, UPLINK, here, there)
      }
    }
    for (const [i, addresses] of [OWN, ROUTER].entries()) {
      const netns = ends[i] ?? ''
      address(netns, UPLINK, addresses)
      ip(netns, 'link', 'set', UPLINK, 'up')
    }
    for (const via of ROUTER) ip(node.netns, 'route', 'add', 'default', 'via', via, 'dev', UPLINK)
    node.sysctl(`net.ipv4.conf.${UPLINK}.rp_filter`, '1')
  }

  /** Runs until the end; says a line when it is ready. */
  async #start(netns: string, ...argv: readonly string[]): Promise<void> {
    const stdio = ['ignore', 'pipe', 'inherit'] as const
    const child = spawn('ip', ['netns', 'exec', netns, ...argv], { stdio: [...stdio] })
    this.#children.push(child)
    if (child.stdout !== null) await once(child.stdout, 'data')
  }
}

async function masquerade(node: LiveNode, kind: UplinkKind): Promise<void> {
  const isL3 = kind === 'l3'
  const index = node.ifindex(UPLINK)
  await node.attach(UPLINK, 'ingress', isL3 ? 'sb_from_uplink_l3' : 'sb_from_uplink')
  await node.attach(UPLINK, 'egress', isL3 ? 'sb_to_uplink_l3' : 'sb_to_uplink')
  new TypedMap(node.map('sb_uplinks'), u32, uplink).set(index, {
    source4: OWN[0],
    source6: OWN[1],
    mtu: 1500,
    flags: isL3 ? UPLINK_L3 : 0,
  })
  const row = node.config.get(0)
  if (row === undefined) throw new TypeError('the node has no config yet')
  const kernel =
    (probeFibSource() ? CONFIG_FIB_SOURCE : 0) | (probeChecksumIpv6() ? CONFIG_CSUM_IPV6 : 0)
  const flags = row.flags | CONFIG_MASQUERADE | CONFIG_TRANSLATED | kernel
  node.config.set(0, { ...row, flags })
}

function ip(netns: string, ...args: readonly string[]): void {
  execFileSync('ip', ['-n', netns, ...args], { stdio: 'pipe' })
}

function address(netns: string, device: string, [v4, v6]: readonly [string, string]): void {
  ip(netns, 'addr', 'add', `${v4}/24`, 'dev', device)
  ip(netns, 'addr', 'add', `${v6}/64`, 'dev', device, 'nodad')
}
