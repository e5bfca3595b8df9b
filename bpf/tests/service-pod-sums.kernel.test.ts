// Checksums where a backend's address and port have the same sum as the service's: what the kernel makes of them tells nothing then.
import { afterAll, beforeAll, test } from 'vitest'
import { addr } from '../src/struct.ts'
import { internetChecksum } from '../testing/index.ts'
import { summing } from './masquerade-rows.ts'
import { Outside } from './outside.ts'
import { links, tcpPacket, udpPacket } from './packets.ts'
import { asked, CLIENT, kindsOf, SERVICE, standing, TCP, UDP } from './service-flows.ts'
import { counted, families, keyOf, loadWorld, type World } from './world.ts'

let outside: Outside
let world: World
let check: ReturnType<typeof summing>
beforeAll(async () => {
  outside = await Outside.open()
  world = await loadWorld({ netns: outside.netns })
  check = summing(world)
})
afterAll(() => {
  world?.close()
  outside?.close()
})

const sumOf = (address: string): number => 0xffff - internetChecksum(addr.encode(address))

test.each(families)('IPv$family: TCP and UDP stay right', (actors) => {
  const { a, service } = actors
  const [served] = kindsOf(actors, outside)
  if (served === undefined) throw new Error('no kind of backend')
  const { backend } = served
  const port = (sumOf(service) + SERVICE - sumOf(backend) + 0xffff) % 0xffff
  for (const proto of [TCP, UDP]) {
    const out = { source: a, target: service, proto, ...asked }
    const seen = { source: a, target: backend, proto, sport: CLIENT, dport: port }
    const make = (link: typeof links.fromA, dst: string, dport: number, ttl = 64) => {
      const [route, ports] = [
        { src: a, dst, ttl },
        { sport: CLIENT, dport },
      ]
      return proto === TCP
        ? tcpPacket(link, route, ports, ['ack'], 20)
        : udpPacket(link, route, ports)
    }
    check({
      what: `protocol ${proto} to port ${port}`,
      program: 'sb_from_pod',
      maps: { ...served.node(), sb_flows: standing({ ...served, out, seen }) },
      packet: make(links.fromA, service, SERVICE),
      expect: {
        verdict: 'redirect',
        redirect: served.leaves.redirect ?? { kind: 'unknown', ifindex: 0 },
        packetOut: make(links.toB, backend, port, 63),
        maps: {
          sb_flows: { changed: [[keyOf(out), {}]] },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
  }
})
