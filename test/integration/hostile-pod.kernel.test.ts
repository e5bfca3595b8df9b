// A pod with a raw socket against its node, the other node and its neighbours: stopped with a reason, and nobody else is hurt.
import {
  arp,
  echoReply,
  eth,
  ip,
  ip4,
  ip6,
  type Layer,
  neighbourAdvertisement,
  packet,
  payload,
  portUnreachable,
  tcp,
  tooBig,
  udp,
  vxlan,
} from '@sinabro/libbpf-ts/testing'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { ping } from '../lab/talk.ts'
import { grown, linkOf, macOf, Sender, strayDatagrams } from './hostile-frames.ts'
import { raiseWithPods, type Stage, whatIsWrong } from './stage.ts'

const NAME = 'hostile-pod'
const TUNNEL_PORT = 8472
/** `SB_DONE` of bpf/lib/verdict.h: our programs' own mark of a finished packet. */
const SB_DONE = 0x20_0000
const closed = { sport: 40000, dport: 9 }

let stage: Stage
let sender: Sender
/** From pod a to its host end. */
let link: Layer
let mac: string
/** From node1 to node2, inside the tunnel. */
let inTunnel: Layer

beforeAll(async () => {
  sender = new Sender()
  stage = await raiseWithPods(NAME)
  ;({ link, mac } = await linkOf(stage.pods.a))
  const [one = '', two = ''] = await Promise.all(
    stage.lab.nodes.map(({ machine }) => macOf(machine, 'sb-vxlan')),
  )
  inTunnel = eth({ src: one, dst: two })
})

afterAll(async () => {
  await stage?.lab.down()
  sender?.remove()
})

afterEach(async () => {
  for (const node of stage.lab.nodes) expect(await whatIsWrong(node)).toEqual([])
})

const node = (n: 1 | 2) => stage.lab.node(n)
const addressOf = (n: 1 | 2, family: 4 | 6) => node(n).plan.internalIps[family === 4 ? 0 : 1] ?? ''

/** Frames out of pod a; then a ping each way, behind which nothing of them is on its way any more. */
async function attack(...frames: Uint8Array[]): Promise<void> {
  const { a, b, c } = stage.pods
  if (frames.length > 0) await sender.send(a, frames)
  for (const { addresses } of [b, c]) {
    for (const address of addresses) expect(await ping(a, address), address).toBe(true)
  }
}

describe.each([4, 6] as const)('IPv%i', (family) => {
  const of = (pod: 'a' | 'b' | 'c') => stage.pods[pod].address(family)

  test('a tunnel packet that masquerading would give the node’s name', async () => {
    const inner = packet(inTunnel, ip({ src: of('b'), dst: of('c') }), udp(closed))
    const forged = [addressOf(1, family), addressOf(2, family)].map((dst) =>
      packet(
        link,
        ip({ src: of('a'), dst }),
        udp({ sport: 4444, dport: TUNNEL_PORT }),
        vxlan({ vni: 1 }),
        payload(inner),
      ),
    )
    const before = await strayDatagrams(stage.pods.c)
    const counts = await grown(node(1), ['from_pod/tunnel_port'], () => attack(...forged))
    expect(counts).toEqual({ 'from_pod/tunnel_port': 2 })
    expect(await strayDatagrams(stage.pods.c)).toBe(before)
  })

  test('ICMP errors do not narrow the paths of the node or of another pod', async () => {
    const mtu = family === 4 ? 600 : 1280
    const told = (dst: string, ...about: Layer[]) =>
      packet(link, ip({ src: of('a'), dst }), tooBig({ mtu }), ...about)
    const [one, two] = [addressOf(1, family), addressOf(2, family)]
    const outside = family === 4 ? '198.51.100.1' : '2001:db8::1'
    const counts = await grown(node(1), ['from_pod/foreign_error'], () =>
      attack(
        told(
          one,
          ip({ src: one, dst: two }),
          udp({ sport: 50000, dport: TUNNEL_PORT }),
          vxlan({ vni: 1 }),
        ),
        told(one, ip({ src: one, dst: outside }), echoReply({ id: 1 })),
        told(of('b'), ip({ src: of('b'), dst: of('c') }), echoReply({ id: 1 })),
      ),
    )
    expect(counts).toEqual({ 'from_pod/foreign_error': 3 })
    for (const [place, to] of [
      [node(1), two],
      [node(1), outside],
      [stage.pods.b, of('c')],
    ] as const) {
      const { stdout } = await place.exec(['ip', 'route', 'get', to])
      expect(stdout, to).not.toContain('mtu')
    }
  })

  test('nobody’s name but its own', async () => {
    const names = [of('b'), of('c'), addressOf(1, family), addressOf(2, family)]
    const before = await strayDatagrams(stage.pods.c)
    const counts = await grown(node(1), ['from_pod/spoofed_source'], () =>
      attack(...names.map((src) => packet(link, ip({ src, dst: of('c') }), udp(closed)))),
    )
    expect(counts).toEqual({ 'from_pod/spoofed_source': names.length })
    expect(await strayDatagrams(stage.pods.c)).toBe(before)
  })

  test('loopback is the node’s own, even where the kernel would route it', async () => {
    await node(1).exec(['sysctl', '-qw', 'net.ipv4.conf.all.route_localnet=1'])
    const dst = family === 4 ? '127.0.0.1' : '::1'
    const counts = await grown(node(1), ['from_pod/loopback', 'from_pod/untracked'], () =>
      attack(packet(link, ip({ src: of('a'), dst }), udp(closed))),
    )
    expect(counts).toEqual({ 'from_pod/loopback': 1, 'from_pod/untracked': 0 })
  })

  test('a mark that a pod sets means nothing to the node', async () => {
    const bytes = 3000 // above the MTU: by the stack, and so by sb_to_overlay, which knows the mark of finished packets
    const argv = ['ping', '-n', '-c', '1', '-W', '3', '-m', `${SB_DONE}`, '-s', `${bytes}`, of('c')]
    expect((await stage.pods.a.exec(argv)).stdout).toContain('1 received')
  })
})

test('a tunnel packet that something on the node turns to another node’s tunnel', async () => {
  const { a, b, c } = stage.pods
  const service = '198.51.100.9'
  await node(1).exec(['nft', '-f', '-'], {
    input: `table ip turn { chain pre { type nat hook prerouting priority dstnat;
      ip daddr ${service} udp dport 9999 dnat to ${addressOf(2, 4)}:${TUNNEL_PORT}
      }
    }`,
  })
  const inner = packet(inTunnel, ip({ src: b.address(4), dst: c.address(4) }), udp(closed))
  const before = await strayDatagrams(c)
  await attack(
    packet(
      link,
      ip({ src: a.address(4), dst: service }),
      udp({ sport: 4444, dport: 9999 }),
      vxlan({ vni: 1 }),
      payload(inner),
    ),
  )
  expect(await strayDatagrams(c)).toBe(before)
  await node(1).exec(['nft', 'delete', 'table', 'ip', 'turn'])
})

test('tunnel packets are not tracked, so no pod’s translated flow can be waiting for them', async () => {
  await node(2).exec(['nft', '-f', '-'], {
    input: `table inet probe { chain in { type filter hook input priority 0;
      udp dport ${TUNNEL_PORT} ct state untracked counter
      udp dport ${TUNNEL_PORT} ct state != untracked counter
      }
    }`,
  })
  await attack()
  const { stdout } = await node(2).exec(['nft', 'list', 'table', 'inet', 'probe'])
  const [untracked = 0, tracked = 0] = Array.from(stdout.matchAll(/packets (\d+)/g), ([, n]) =>
    Number(n),
  )
  expect(untracked).toBeGreaterThan(0)
  expect(tracked).toBe(0)
  await node(2).exec(['nft', 'delete', 'table', 'inet', 'probe'])
})

test('a forged tunnel packet in fragments', async () => {
  const { a, b, c } = stage.pods
  const inner = packet(inTunnel, ip({ src: b.address(4), dst: c.address(4) }), udp(closed))
  const whole = packet(
    ip({ src: a.address(4), dst: addressOf(2, 4) }),
    udp({ sport: 4444, dport: TUNNEL_PORT, checksum: 0 }),
    vxlan({ vni: 1 }),
    payload(inner),
  ).slice(20)
  const options = { src: a.address(4), dst: addressOf(2, 4), id: 77, protocol: 17 }
  const before = await strayDatagrams(c)
  const counts = await grown(node(1), ['from_pod/tunnel_port'], () =>
    attack(
      packet(link, ip4({ ...options, hasMoreFragments: true }), payload(whole.slice(0, 8))),
      packet(link, ip4({ ...options, fragmentOffsetBytes: 8 }), payload(whole.slice(8))),
    ),
  )
  // Both: the later one borrows the ports of the first.
  expect(counts).toEqual({ 'from_pod/tunnel_port': 2 })
  expect(await strayDatagrams(c)).toBe(before)
})

test('ARP, neighbour discovery and IPv4 in the guise of IPv6', async () => {
  const { a, b } = stage.pods
  const everybody = eth({ src: mac, dst: 'ff:ff:ff:ff:ff:ff' })
  const [own4, own6, other4, other6] = [a.address(4), a.address(6), b.address(4), b.address(6)]
  const advert = (src: string, target: string, claimed: string, hopLimit = 255) =>
    packet(
      link,
      ip6({ src, dst: other6, hopLimit }),
      neighbourAdvertisement({ target, mac: claimed }),
    )
  const names = ['from_pod/spoofed_arp', 'from_pod/spoofed_nd', 'from_pod/bad_header'] as const
  const counts = await grown(node(1), names, () =>
    attack(
      packet(everybody, arp({ op: 'reply', senderIp: other4, senderMac: mac, targetIp: own4 })),
      packet(
        everybody,
        arp({ op: 'reply', senderIp: '169.254.1.1', senderMac: mac, targetIp: own4 }),
      ),
      advert(other6, own6, mac), // in another's name
      advert(own6, other6, mac), // of another's address
      advert(own6, own6, '02:00:00:00:00:66'), // with another's MAC
      advert(own6, own6, mac, 64), // as if through a router
      packet(link, ip6({ src: `::ffff:${own4}`, dst: `::ffff:${other4}` }), udp(closed)),
    ),
  )
  expect(counts).toEqual({
    'from_pod/spoofed_arp': 2,
    'from_pod/spoofed_nd': 4,
    'from_pod/bad_header': 1,
  })
})

test('nothing leaves the cluster under a pod’s own address, be it part of no connection', async () => {
  const { a } = stage.pods
  const { outside } = stage.lab
  await outside.exec(['nft', '-f', '-'], {
    input: `table inet probe { chain in { type filter hook prerouting priority raw
      ip saddr 10.244.0.0/16 counter
      ip6 saddr fd00:10:244::/48 counter
      }
    }`,
  })
  const targets = [
    [a.address(4), '198.51.100.1'],
    [a.address(6), '2001:db8::1'],
  ] as const
  await attack(
    ...targets.flatMap(([src, dst]) => [
      packet(link, ip({ src, dst }), tcp({ sport: 1, dport: 2, flags: ['rst'] })),
      packet(link, ip({ src, dst }), tcp({ sport: 1, dport: 3, flags: ['syn', 'fin'] })),
      packet(
        link,
        ip({ src, dst }),
        portUnreachable(),
        ip({ src: dst, dst: src }),
        udp({ sport: 1, dport: 2 }),
      ),
    ]),
  )
  for (const [, dst] of targets) await ping(a, dst)
  const { stdout } = await outside.exec(['nft', 'list', 'table', 'inet', 'probe'])
  expect(Array.from(stdout.matchAll(/packets (\d+)/g), ([, n]) => n)).toEqual(['0', '0'])
})
