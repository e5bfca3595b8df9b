// Packets of direct server return: what clients, backends and the node between them send.
import { addr, mac as macCodec } from '../src/struct.ts'
import { eth } from '../testing/index.ts'
import { type Route, tcpPacket, udpPacket } from './packets.ts'
import { BACKEND_PORT, CLIENT_PORT, NODE_PORT, type Served } from './service-outside-rows.ts'
import { type Asked, serving } from './service-rows.ts'
import { type Actors, IFINDEX_HERE, IFINDEX_OVERLAY, SB_DONE } from './world.ts'

export const TCP = 6
export const UDP = 17
export const PROTOCOLS = [
  ['TCP', TCP],
  ['UDP', UDP],
] as const
export const asks = { sport: CLIENT_PORT, dport: NODE_PORT }
export const gets = { sport: CLIENT_PORT, dport: BACKEND_PORT }
export const answers = { sport: BACKEND_PORT, dport: CLIENT_PORT }
export const isAnswered = { sport: NODE_PORT, dport: CLIENT_PORT }
export const peer = { kind: 'peer', ifindex: IFINDEX_HERE } as const
export const overlay = { kind: 'device', ifindex: IFINDEX_OVERLAY } as const

/** Ethernet addresses between the nodes: the last four bytes of the backend's address and its port, then the six bytes before. */
export function naming(backend: string, port = BACKEND_PORT) {
  const all = new Uint8Array(16)
  addr.write(new DataView(all.buffer), 0, backend)
  const bytes = new Uint8Array(12)
  bytes.set(all.subarray(12), 0)
  bytes.set([port >> 8, port & 0xff], 4)
  bytes.set(all.subarray(6, 12), 6)
  const view = new DataView(bytes.buffer)
  return eth({ dst: macCodec.read(view, 0), src: macCodec.read(view, 6) })
}

export const makeOf =
  (proto: number, flag: 'syn' | 'ack' = 'syn') =>
  (link: ReturnType<typeof eth>, route: Route, ports: typeof asks) =>
    proto === TCP ? tcpPacket(link, route, ports, [flag]) : udpPacket(link, route, ports)

/** A stranger asks node 1 for what a pod of node 2 serves: what is asked, by which rows it goes on, and as what. */
export function throughNode1({ family, c, node1, stranger }: Actors) {
  const asking = { src: stranger, dst: node1 }
  return {
    asking,
    rows: (proto: number, more: Partial<Asked> = {}) =>
      serving({
        ...{ family, proto, port: NODE_PORT, backends: [{ address: c, port: BACKEND_PORT }] },
        ...more,
      }),
    flow: (proto: number): Served => ({ where: 'dsr', proto, backend: c }),
    sentOn: (proto: number, flag?: 'ack') => ({
      verdict: 'redirect' as const,
      redirect: overlay,
      packetOut: makeOf(proto, flag)(naming(c), { ...asking, ttl: 63 }, asks),
      ctx: { mark: SB_DONE },
    }),
  }
}
