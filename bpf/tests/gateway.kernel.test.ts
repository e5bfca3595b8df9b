// The gateway by packet vectors: whoever of a pod asks for its MAC is told, from whatever MAC it asks, and nobody else hears of it.
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  arp,
  destinationOptions,
  eth,
  ip6,
  type Layer,
  neighbourAdvertisement,
  neighbourSolicitation,
  packet,
} from '../testing/index.ts'
import { counted, IFINDEX_HERE, ipv4, ipv6, loadWorld, mac, SB_DONE, type World } from './world.ts'

/** As a plug-in behind us may have set it; no map knows it. */
const OTHER_MAC = '02:11:22:33:44:55'
const GATEWAY_IPV4 = ipv4.linkLocal
const GATEWAY_IPV6 = ipv6.linkLocal
const BROADCAST = 'ff:ff:ff:ff:ff:ff'
const GROUP = '33:33:ff:00:00:01'

let world: World
beforeAll(async () => {
  world = await loadWorld()
})
afterAll(() => world?.close())

function answers(what: string, question: Uint8Array, answer: Uint8Array): void {
  world.check({
    what,
    program: 'sb_from_pod',
    packet: question,
    expect: {
      verdict: 'redirect',
      redirect: { kind: 'device', ifindex: IFINDEX_HERE },
      packetOut: answer,
      ctx: { mark: SB_DONE },
      maps: { sb_counters: counted('from_pod', 'PASS_GATEWAY') },
    },
  })
  world.check({
    what: `${what}: on its way back`,
    program: 'sb_to_pod',
    packet: answer,
    ctx: { mark: SB_DONE },
    expect: {
      verdict: 'next',
      packetOut: answer,
      ctx: { mark: 0 },
      maps: { sb_counters: counted('to_pod', 'PASS_DONE') },
    },
  })
}

test.each([
  ['the pod’s own MAC', mac.a, BROADCAST],
  ['another MAC', OTHER_MAC, BROADCAST],
  ['another MAC, asking whether the gateway still lives', OTHER_MAC, mac.aHost],
])('sb_from_pod answers ARP for the gateway from %s', (what, own, dst) => {
  answers(
    what,
    packet(
      eth({ src: own, dst }),
      arp({ op: 'request', senderMac: own, senderIp: ipv4.a, targetIp: GATEWAY_IPV4 }),
    ),
    packet(
      eth({ src: mac.aHost, dst: own }),
      arp({
        op: 'reply',
        senderMac: mac.aHost,
        senderIp: GATEWAY_IPV4,
        targetMac: own,
        targetIp: ipv4.a,
      }),
    ),
  )
})

const asked = (own: string, dst: string, src: string, ...layers: readonly Layer[]) =>
  packet(eth({ src: own, dst }), ip6({ src, dst: GATEWAY_IPV6, hopLimit: 255 }), ...layers)
const withMac = (own: string) => neighbourSolicitation({ target: GATEWAY_IPV6, mac: own })

test.each([
  ['the pod’s own MAC', mac.a, GROUP, ipv6.a, [withMac(mac.a)]],
  ['another MAC', OTHER_MAC, GROUP, ipv6.a, [withMac(OTHER_MAC)]],
  [
    'another MAC, which it does not name',
    OTHER_MAC,
    mac.aHost,
    ipv6.a,
    [neighbourSolicitation({ target: GATEWAY_IPV6 })],
  ],
  [
    'behind an extension header',
    OTHER_MAC,
    GROUP,
    ipv6.a,
    [destinationOptions(), withMac(OTHER_MAC)],
  ],
  [
    'a link-local address that asks whether it still lives',
    OTHER_MAC,
    mac.aHost,
    'fe80::a',
    [withMac(OTHER_MAC)],
  ],
] as const)(
  'sb_from_pod answers a solicitation of the gateway: %s',
  (what, own, dst, src, layers) => {
    answers(
      what,
      asked(own, dst, src, ...layers),
      packet(
        eth({ src: mac.aHost, dst: own }),
        ip6({ src: GATEWAY_IPV6, dst: src, hopLimit: 255 }),
        neighbourAdvertisement({ target: GATEWAY_IPV6, mac: mac.aHost, isRouter: true }),
      ),
    )
  },
)

test('gateway.h and marks.ts of the agent have the same addresses', () => {
  const header = readFileSync(new URL('../lib/gateway.h', import.meta.url), 'utf8')
  const marks = readFileSync(new URL('../../agent/src/marks.ts', import.meta.url), 'utf8')
  for (const address of [GATEWAY_IPV4, GATEWAY_IPV6]) {
    expect(header).toContain(address)
    expect(marks).toContain(`'${address}'`)
  }
})
