// sb_from_uplink in front of the kernel's own VXLAN device: it judges what sb_from_overlay judges where that device is ours.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { CONFIG_READY, CONFIG_TUNNEL_IPV6 } from '../src/layouts.ts'
import {
  arp,
  destinationOptions,
  ip,
  ip4,
  ip6,
  type Layer,
  packet,
  payload,
  udp,
  vxlan,
} from '../testing/index.ts'
import { links, udpPacket } from './packets.ts'
import {
  counted,
  families,
  ipv4,
  ipv6,
  loadWorld,
  mac,
  readyConfig,
  TUNNEL_PORT,
  VNI,
  type World,
} from './world.ts'

/** No device whose packets a program of ours takes: what says that the kernel unpacks them. */
const kernelMode = { ...readyConfig, overlayIfindex: 0 }
const ports = { sport: 40000, dport: 53 }
const toTunnel = { sport: 50000, dport: TUNNEL_PORT }

let world: World
beforeAll(async () => {
  world = await loadWorld({ rows: { sb_config: [[0, kernelMode]] } })
})
afterAll(() => world?.close())

function check(what: string, bytes: Uint8Array, outcome: string, flags = CONFIG_READY): void {
  world.check({
    what,
    program: 'sb_from_uplink',
    maps: { sb_config: [[0, { ...kernelMode, flags }]] },
    packet: bytes,
    expect: {
      verdict: outcome.startsWith('PASS') ? 'next' : 'shot',
      maps: { sb_counters: counted('from_uplink', outcome, bytes.length) },
    },
  })
}

describe.each([ipv4, ipv6])('outer IPv$family', ({ node1, node2, stranger: outsider }) => {
  const tunnelled = (inner: Uint8Array, outer = { src: node2, dst: node1 }, vni = VNI) =>
    packet(links.wire, ip(outer), udp(toTunnel), vxlan({ vni }), payload(inner))

  describe.each(families)('inner IPv$family', (inner) => {
    const { a, b, c, d, own1, own2, vacant, stranger } = inner
    const within = (src: string, dst: string) => udpPacket(links.in, { src, dst }, ports)

    test.each([
      ['a pod of the node that sends it, to a pod', c, a, 'PASS_TUNNEL'],
      ['the other node itself, to this one', own2, own1, 'PASS_TUNNEL'],
      ['an InternalIP of the node that sends it', inner.node2, a, 'PASS_TUNNEL'],
      ['a pod of this node', b, a, 'DROP_FOREIGN_SOURCE'],
      ['a pod of a third node', d, a, 'DROP_FOREIGN_SOURCE'],
      ['this node', inner.node1, a, 'DROP_FOREIGN_SOURCE'],
      ['a stranger', stranger, a, 'DROP_FOREIGN_SOURCE'],
      ['a pod, to an address nobody has', c, vacant, 'DROP_NO_ENDPOINT'],
      ['a pod, to outside', c, stranger, 'DROP_NO_ENDPOINT'],
      ['a pod, to many', c, inner.multicast, 'DROP_NO_ENDPOINT'],
    ])('inner source: %s', (what, src, dst, outcome) => {
      check(what, tunnelled(within(src, dst)), outcome)
    })

    test('a sender that is no node is not believed, whatever is inside', () => {
      const outer = { src: outsider, dst: node1 }
      check('stranger', tunnelled(within(c, a), outer), 'DROP_UNKNOWN_NODE')
    })

    test('the kernel listens on every address of the node, so the port alone counts', () => {
      const outer = {
        src: outsider,
        dst: own1.includes(':') === node1.includes(':') ? own1 : node1,
      }
      check('to another address', tunnelled(within(c, a), outer), 'DROP_UNKNOWN_NODE')
    })

    test('another network’s number is another device’s business', () => {
      const outer = { src: outsider, dst: node1 }
      check('VNI', tunnelled(within(c, a), outer, VNI + 1), 'PASS_TUNNEL')
    })

    test('inner addresses that are not there cannot be judged', () => {
      const whole = tunnelled(within(c, a))
      const headers = (inner.family === 4 ? 20 : 40) - 1
      const cut = packet(
        links.wire,
        ip({ src: node2, dst: node1 }),
        udp(toTunnel),
        vxlan({ vni: VNI }),
        payload(within(c, a).subarray(0, 14 + headers)),
      )
      check('cut short', cut, 'DROP_TRUNCATED')
      // The same bytes, but the IP packet ends before them: the rest may come in a fragment.
      const padded = new Uint8Array([...cut, ...whole.subarray(cut.length)])
      check('past the end of the packet', padded, 'DROP_TRUNCATED')
    })
  })

  test.each<[string, Layer[], string]>([
    [
      'ARP',
      [arp({ op: 'request', senderIp: ipv4.c, senderMac: mac.overlay2, targetIp: ipv4.a })],
      'DROP_OVERLAY_MULTICAST',
    ],
    ['mapped IPv4 in IPv6', [ip6({ src: `::ffff:${ipv4.c}`, dst: ipv6.a })], 'DROP_BAD_HEADER'],
  ])('%s inside is dropped', (what, layers, outcome) => {
    check(what, tunnelled(packet(links.in, ...layers, payload(8))), outcome)
  })

  test('other protocols inside are dropped', () => {
    const stp = udpPacket(links.in, { src: ipv4.c, dst: ipv4.a }, ports)
    stp.set([0x81, 0x00], 12)
    check('VLAN', tunnelled(stp), 'DROP_NOT_IP')
  })

  test('what is not for the tunnel’s port is as elsewhere', () => {
    check('UDP', udpPacket(links.wire, { src: outsider, dst: node1 }, ports), 'PASS_FOREIGN')
  })
})

test('more extension headers than are followed may hide the port, if the tunnel is of that family', () => {
  const long = packet(
    links.wire,
    ip6({ src: ipv6.stranger, dst: ipv6.node1 }),
    ...Array.from({ length: 7 }, () => destinationOptions()),
    udp(toTunnel),
  )
  check('a tunnel over IPv4', long, 'PASS_FOREIGN')
  check('over IPv6', long, 'DROP_EXTENSION_HEADERS', CONFIG_READY | CONFIG_TUNNEL_IPV6)
})

test('a later fragment is nothing without its first, which was judged', () => {
  const later = packet(
    links.wire,
    ip4({ src: ipv4.stranger, dst: ipv4.node1, id: 9, fragmentOffsetBytes: 1480 }),
    payload(40),
  )
  check('fragment', later, 'PASS_FOREIGN')
})
