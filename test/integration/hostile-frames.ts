// Raw frames out of a lab machine's device or a pod's, and what the programs and kernels made of them.
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { eth, type Layer } from '@sinabro/libbpf-ts/testing'
import { type LabNode, type Machine, type Pod, TREE } from '../lab/index.ts'

/** The builder's sender of the packet vectors' live tests: frames in hex on stdin. */
const SOURCE = join(TREE, 'bpf/tests/send_frame.c')

export class Sender {
  readonly #program: string

  /** Compiled for this process alone: runs side by side do not meet. */
  constructor() {
    const folder = join(TREE, 'bpf/build/tests')
    mkdirSync(folder, { recursive: true })
    this.#program = join(folder, `send_frame.hostile.${process.pid}`)
    execFileSync('gcc', ['-O2', '-o', this.#program, SOURCE])
  }

  /** @param protocol what the socket says the frames are; absent: what they are */
  async send(from: Pod | Machine, frames: Iterable<Uint8Array>, protocol?: number): Promise<void> {
    const lines = Array.from(frames, (frame) => Buffer.from(frame).toString('hex'))
    const says = protocol === undefined ? [] : [protocol.toString(16)]
    await from.exec([this.#program, 'eth0', ...says], { input: `${lines.join('\n')}\n` })
  }

  remove(): void {
    execFileSync('rm', ['-f', this.#program])
  }
}

/** The Ethernet header of what a pod sends to its node. */
export async function linkOf(pod: Pod): Promise<{ readonly link: Layer; readonly mac: string }> {
  const mac = await macOf(pod, 'eth0')
  const { stdout } = await pod.exec(['ip', '-j', 'neigh', 'show', 'dev', 'eth0'])
  const neighbours = JSON.parse(stdout) as { readonly lladdr?: string }[]
  const host = neighbours.find(({ lladdr }) => lladdr !== undefined)?.lladdr
  if (host === undefined) throw new TypeError(`${pod.name} knows no gateway`)
  return { link: eth({ src: mac, dst: host }), mac }
}

/** Asked of netlink: /sys is the machine's, in its pods too. */
export async function macOf(place: Pod | Machine, device: string): Promise<string> {
  const { stdout } = await place.exec(['ip', '-j', 'link', 'show', device])
  const [link] = JSON.parse(stdout) as { readonly address: string }[]
  if (link === undefined) throw new TypeError(`no device ${device}`)
  return link.address
}

export type Counts = ReadonlyMap<string, number>

/** Packets counted so far on a node, by 'place/outcome'. */
export async function countsOf({ machine }: LabNode): Promise<Counts> {
  const text = await new Promise<string>((resolve, reject) => {
    const socketPath = machine.pathOnHost('/run/sinabro/agent.sock')
    const call = request({ socketPath, path: '/v1/metrics' }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (part: string) => {
        body += part
      })
      response.on('end', () => resolve(body)).on('error', reject)
    })
    call.on('error', reject).end()
  })
  const line = /^sinabro_datapath_packets_total\{place="(\w+)",outcome="(\w+)".*\} (\d+)$/gm
  return new Map(
    Array.from(text.matchAll(line), ([, place, outcome, n]) => [`${place}/${outcome}`, Number(n)]),
  )
}

/** By how much the named counters of a node grow while something is done; of those that do not grow 0. */
export async function grown<const N extends string>(
  node: LabNode,
  names: readonly N[],
  during: () => Promise<unknown>,
): Promise<Record<N, number>> {
  const before = await countsOf(node)
  await during()
  const after = await countsOf(node)
  const pairs = names.map((name) => [name, (after.get(name) ?? 0) - (before.get(name) ?? 0)])
  return Object.fromEntries(pairs) as Record<N, number>
}

/** Datagrams that reached a pod, at ports where nobody listens. */
export async function strayDatagrams(pod: Pod): Promise<number> {
  const { stdout } = await pod.exec(['cat', '/proc/net/snmp', '/proc/net/snmp6'])
  const [names = '', values = ''] = stdout.split('\n').filter((line) => line.startsWith('Udp:'))
  const at = names.split(' ').indexOf('NoPorts')
  const v6 = /^Udp6NoPorts\s+(\d+)$/m.exec(stdout)?.[1] ?? '0'
  return Number(values.split(' ')[at] ?? 0) + Number(v6)
}
