// Two network namespaces joined by a veth pair, and traffic between them: for what a test run cannot show.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'

export interface VethEnd {
  readonly netns: NetworkNamespace
  readonly netlink: RouteNetlink
  readonly ifindex: number
  readonly mac: string
  readonly ip4: string
  readonly ip6: string
}

const ends = [
  { name: 'left', mac: '02:00:00:00:00:01', ip4: '10.9.0.1', ip6: 'fd09::1' },
  { name: 'right', mac: '02:00:00:00:00:02', ip4: '10.9.0.2', ip6: 'fd09::2' },
] as const

/** Everything goes when it is closed, or with the process. */
export class VethPair {
  readonly left: VethEnd
  readonly right: VethEnd

  private constructor(left: VethEnd, right: VethEnd) {
    this.left = left
    this.right = right
  }

  /** Both ends exist and have addresses but are down: nothing has passed yet. */
  static async open(): Promise<VethPair> {
    const sides = ends.map((end) => {
      const netns = NetworkNamespace.create()
      return { ...end, netns, netlink: RouteNetlink.open({ netns }) }
    })
    const [left, right] = sides
    if (left === undefined || right === undefined) throw new RangeError('a pair has two ends')
    await left.netlink.links.add({
      kind: 'veth',
      name: left.name,
      mac: left.mac,
      peer: { name: right.name, mac: right.mac, netns: right.netns },
    })
    return new VethPair(await addressed(left), await addressed(right))
  }

  async setUp(): Promise<void> {
    for (const { netlink, ifindex } of [this.left, this.right]) {
      await netlink.links.set({ index: ifindex }, { isUp: true })
    }
  }

  /** UDP from left to right, as fast as one process sends, until stopped. */
  async flood(): Promise<Flood> {
    const script = `
      const socket = require('node:dgram').createSocket('udp4')
      const burst = () => {
        for (let i = 0; i < 32; i++) socket.send('x', 9, '${this.right.ip4}', () => {})
        setImmediate(burst)
      }
      process.stdin.on('end', () => process.exit()).resume()
      burst()
      console.log('sending')`
    const child = spawn(
      'nsenter',
      [`--net=/proc/${process.pid}/fd/${this.left.netns.fd}`, process.execPath, '-e', script],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    )
    await once(child.stdout, 'data')
    return new Flood(child)
  }

  close(): void {
    for (const { netns, netlink } of [this.left, this.right]) {
      netlink.close()
      netns.close()
    }
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

export class Flood {
  readonly #child: ChildProcess

  constructor(child: ChildProcess) {
    this.#child = child
  }

  /** Returns when the last packet has been sent. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.stdin?.end()
    await exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

const LOOKS = 100

/**
 * What programs and their device have counted, read with no packet between: both ends send of themselves as well (router solicitations,
 * multicast reports), and what the sender sent last may be on its way. The last look if they never agree.
 */
export async function countsAtRest(
  counted: () => bigint,
  passed: () => Promise<bigint>,
): Promise<{ readonly programs: bigint; readonly device: bigint }> {
  for (let look = 1; ; look++) {
    const programs = counted()
    const device = await passed()
    const isAtRest = programs === device && counted() === programs
    if (isAtRest || look === LOOKS) return { programs, device }
  }
}

async function addressed(
  end: Omit<VethEnd, 'ifindex'> & { readonly name: string },
): Promise<VethEnd> {
  const link = await end.netlink.links.get({ name: end.name })
  if (link === undefined) throw new RangeError(`no device ${end.name}`)
  const { index } = link
  await end.netlink.addresses.replace({ index, address: end.ip4, prefixLen: 24 })
  await end.netlink.addresses.replace({ index, address: end.ip6, prefixLen: 64, flags: ['nodad'] })
  return { ...end, ifindex: index }
}
