// What goes wrong, on real devices: frames a test run refuses, a hostile pod, a smaller MTU on the way, forged tunnel packets.
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  arp,
  eth,
  ip,
  type Layer,
  neighbourAdvertisement,
  packet,
  payload,
  routerAdvertisement,
  udp,
  vxlan,
} from '../testing/index.ts'
import { execIn, nodes, pods, SLOW_MS, TUNNEL_PORT, TwoNodes } from './two-nodes.ts'

const { a, b, c } = pods
const [one, two] = nodes
const build = join(import.meta.dirname, '../build/tests')
const sender = join(build, `send_frame.${process.pid}`)

let world: TwoNodes
beforeAll(async () => {
  mkdirSync(build, { recursive: true })
  execFileSync('gcc', ['-O2', '-o', sender, join(import.meta.dirname, 'send_frame.c')])
  world = await TwoNodes.up({ outer: 4, mode: 'clsact' })
}, SLOW_MS)
afterAll(() => {
  world?.close()
  execFileSync('rm', ['-f', sender])
})
let before: Map<string, number>[]
beforeEach(() => {
  before = world.nodes.map((node) => node.counts())
})

function send(netns: string, device: string, frames: readonly Uint8Array[]): void {
  const input = frames.map((frame) => `${Buffer.from(frame).toString('hex')}\n`).join('')
  execFileSync('ip', ['netns', 'exec', netns, sender, device], { input })
}

/** How much a counter has grown in this test, on node 1. */
function grown(name: string): number {
  return (world.nodes[0].counts().get(name) ?? 0) - (before[0]?.get(name) ?? 0)
}

const link = eth({ src: a.mac, dst: a.hostMac })

describe.each([
  ['IPv4', 0, 20],
  ['IPv6', 1, 40],
] as const)('%s', (_family, f, header) => {
  /** Every frame whose IP header is cut short, down to the Ethernet header alone. */
  const cut = (layer: Layer, src: string, dst: string) => {
    const whole = packet(layer, ip({ src, dst }), udp({ sport: 1, dport: 2 }))
    return Array.from({ length: header }, (_, size) => whole.slice(0, 14 + size))
  }

  test('a pod that sends less than an IP header', () => {
    const frames = cut(link, a.addresses[f], b.addresses[f])
    send(world.netnsOf(a), 'eth0', frames)
    expect(grown('from_pod/truncated')).toBe(frames.length)
  })

  test('less than an IP header on its way into a pod', () => {
    const frames = cut(eth({ src: a.hostMac, dst: a.mac }), b.addresses[f], a.addresses[f])
    send(world.nodes[0].netns, 'sb-a', frames)
    expect(grown('to_pod/truncated')).toBe(frames.length)
  })

  test('less than an IP header on its way into the tunnel', () => {
    const frames = cut(
      eth({ src: one.overlayMac, dst: two.overlayMac }),
      one.own[f],
      c.addresses[f],
    )
    send(world.nodes[0].netns, 'sb-vxlan', frames)
    expect(grown('to_overlay/truncated')).toBe(frames.length)
  })

  test('less than an IP header out of the tunnel', () => {
    const errorsBefore = receiveErrors()
    const inner = cut(
      eth({ src: two.overlayMac, dst: one.overlayMac }),
      c.addresses[f],
      a.addresses[f],
    )
    send(
      world.nodes[1].netns,
      'eth0',
      inner.map((frame) => tunnelled(two.internal[0], frame)),
    )
    // Kernels since 6.9 look at the inner header before our program can.
    expect(grown('from_overlay/truncated') + receiveErrors() - errorsBefore).toBe(inner.length)
  })

  test('a pod in the name of another, or of nobody', () => {
    const frames = [b.addresses[f], c.addresses[f], one.own[f], one.internal[f]].map((src) =>
      packet(link, ip({ src, dst: c.addresses[f] }), udp({ sport: 1, dport: 2 })),
    )
    send(world.netnsOf(a), 'eth0', frames)
    expect(grown('from_pod/spoofed_source')).toBe(frames.length)
    expect(grown('from_pod/node')).toBe(0)
  })

  test('forged tunnel packets: from a stranger, and in the name of pods that are not the sender', () => {
    const inner = (src: string) =>
      packet(
        eth({ src: two.overlayMac, dst: one.overlayMac }),
        ip({ src, dst: a.addresses[f] }),
        udp({ sport: 1, dport: 2 }),
      )
    send(world.nodes[1].netns, 'eth0', [
      tunnelled('192.0.2.66', inner(c.addresses[f])),
      tunnelled(two.internal[0], inner(b.addresses[f])),
      tunnelled(two.internal[0], inner(one.own[f])),
      tunnelled(two.internal[0], inner(c.addresses[f]), 99),
    ])
    expect(grown('from_overlay/unknown_node')).toBe(1)
    expect(grown('from_overlay/foreign_source')).toBe(2)
    expect(grown('from_overlay/wrong_vni')).toBe(1)
    expect(grown('from_overlay/local')).toBe(0)
  })

  test('a smaller MTU towards the other node is told to the pod', () => {
    const [node] = world.nodes
    const mtu = 1300
    const row = node.nodes.get(two.id)
    if (row === undefined) throw new TypeError('no row of node 2')
    node.nodes.set(two.id, { ...row, mtu })
    node.ip('link', 'set', 'sb-vxlan', 'mtu', `${mtu}`)
    const said = world.ping(a, c.addresses[f], '-M', 'do', '-s', `${mtu}`)
    expect(said).toMatch(/mtu ?= ?1300/)
    expect(world.ping(a, c.addresses[f], '-M', 'do', '-s', `${mtu - header - 8}`)).toContain(
      '1 received',
    )
    node.nodes.set(two.id, row)
    node.ip('link', 'set', 'sb-vxlan', 'mtu', `${row.mtu}`)
  })

  /** As node 2's uplink would send it to node 1. */
  function tunnelled(source: string, inner: Uint8Array, vni = 1): Uint8Array {
    const [near, far] = world.nodes.map(({ netns }) => macOf(netns))
    return packet(
      eth({ src: far ?? '', dst: near ?? '' }),
      ip({ src: source, dst: one.internal[0] }),
      udp({ sport: 12345, dport: TUNNEL_PORT, checksum: 0 }),
      vxlan({ vni }),
      payload(inner),
    )
  }
})

test('a pod that claims the gateway or another pod, by ARP, by ND, or as a router', () => {
  const broadcast = eth({ src: a.mac, dst: 'ff:ff:ff:ff:ff:ff' })
  const claim = (senderIp: string, senderMac: string) =>
    packet(broadcast, arp({ op: 'reply', senderIp, senderMac, targetIp: one.own[0] }))
  const advert = (target: string, mac: string) =>
    packet(
      link,
      ip({ src: a.addresses[1], dst: 'ff02::1', ttl: 255 }),
      neighbourAdvertisement({ target, mac }),
    )
  send(world.netnsOf(a), 'eth0', [
    claim('169.254.1.1', a.mac),
    claim(b.addresses[0], a.mac),
    claim(a.addresses[0], b.mac),
    advert('fe80::1', a.mac),
    advert(b.addresses[1], a.mac),
    advert(a.addresses[1], b.mac),
    packet(link, ip({ src: 'fe80::a', dst: 'ff02::1', ttl: 255 }), routerAdvertisement()),
  ])
  expect(grown('from_pod/spoofed_arp')).toBe(3)
  expect(grown('from_pod/spoofed_nd')).toBe(3)
  expect(grown('from_pod/router_advertisement')).toBe(1)
})

test('a VLAN tag does not get a packet past', () => {
  const tagged = packet(
    eth({ src: a.mac, dst: a.hostMac, type: 0x8100 }),
    payload(Uint8Array.of(0, 5, 0x08, 0x00)),
    ip({ src: a.addresses[0], dst: b.addresses[0] }),
    udp({ sport: 1, dport: 2 }),
  )
  send(world.netnsOf(a), 'eth0', [tagged])
  expect(grown('from_pod/not_ip')).toBe(1)
})

/** Of the overlay device of node 1. */
function receiveErrors(): number {
  const text = world.nodes[0].ip('-s', '-j', 'link', 'show', 'sb-vxlan')
  const [overlay] = JSON.parse(text) as { stats64: { rx: { errors: number } } }[]
  return overlay?.stats64.rx.errors ?? 0
}

function macOf(netns: string): string {
  return execIn(netns, 'cat', '/sys/class/net/eth0/address').trim()
}
