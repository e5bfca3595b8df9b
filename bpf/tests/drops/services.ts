// Drops of packets for a service: of an address that none has, of one that only pods of this node may serve, or that not everybody may ask.
import {
  DSR_VNI,
  IPCACHE_SERVICES,
  SERVICE_EXTERNAL_LOCAL,
  SERVICE_INTERNAL_LOCAL,
  SERVICE_SOURCE_RANGES,
} from '../../src/layouts.ts'
import type { Rows } from '../../testing/index.ts'
import { unreachable } from '../outside.ts'
import { links, udpPacket } from '../packets.ts'
import { BACKEND_PORT, CLIENT_PORT, served } from '../service-outside-rows.ts'
import { SERVICES, serving } from '../service-rows.ts'
import { type Actors, readyConfig, type Shapes } from '../world.ts'
import { type Drop, fromA, fromTunnel, fromWire, ports, tunnel } from './drop.ts'

const UDP = 17
const answers = { sport: BACKEND_PORT, dport: CLIENT_PORT }

/** A node that serves; the service's address is in a range of such. */
function ranges({ family, service }: Actors): Rows<Shapes> {
  const prefixLen = family === 4 ? 96 + 16 : 64
  return {
    sb_config: [[0, { ...readyConfig, flags: SERVICES }]],
    sb_ipcache: [
      [
        { prefixLen, addr: service },
        { node: 0, identity: 0, flags: IPCACHE_SERVICES },
      ],
    ],
  }
}

export const services: readonly Drop[] = [
  {
    reason: 'DROP_SERVICE_ADDRESS',
    what: 'an address of the services’ range that none has',
    place: 'from_pod',
    packet: ({ a, service }) => fromA(a, service),
    maps: ranges,
  },
  {
    reason: 'DROP_NO_LOCAL_BACKEND',
    what: 'no backend on this node of a service that has to have one here',
    place: 'from_pod',
    packet: ({ a, service }) => fromA(a, service),
    maps: (actors) => {
      const { family, service: address } = actors
      const flags = SERVICE_INTERNAL_LOCAL
      const asked = { family, address, port: ports.dport, proto: UDP, backends: [], flags }
      return { ...ranges(actors), ...serving(asked) }
    },
  },
  {
    reason: 'DROP_SERVICE_ADDRESS',
    what: 'the same, from outside',
    place: 'from_uplink',
    packet: ({ stranger, service }) => fromWire(stranger, service),
    maps: ranges,
  },
  {
    reason: 'DROP_SERVICE_ADDRESS',
    what: 'the same, from the node itself',
    place: 'to_uplink',
    packet: ({ node1, service }) => fromWire(node1, service),
    maps: ranges,
  },
  {
    reason: 'DROP_NO_LOCAL_BACKEND',
    what: 'no backend on this node of a service that has to have one here for those outside',
    place: 'from_uplink',
    packet: ({ stranger, service }) => fromWire(stranger, service),
    maps: (actors) => ({ ...ranges(actors), ...asked(actors, SERVICE_EXTERNAL_LOCAL) }),
  },
  {
    reason: 'DROP_SOURCE_RANGE',
    what: 'a source that may not ask for the service',
    place: 'from_uplink',
    packet: ({ stranger, service }) => fromWire(stranger, service),
    maps: (actors) => ({ ...ranges(actors), ...asked(actors, SERVICE_SOURCE_RANGES) }),
  },
  {
    reason: 'DROP_NO_ROUTE',
    what: 'the answer to a client to whom no route leads',
    place: 'from_overlay',
    packet: ({ c, own1 }) => udpPacket(links.in, { src: c, dst: own1 }, answers),
    renews: ({ c, own1 }) => ({ source: c, target: own1, proto: UDP, ...answers }),
    maps: (actors) => {
      const client = unreachable[actors.family]
      const flow = { where: 'tunnel', proto: UDP, client, backend: actors.c } as const
      return { ...ranges(actors), sb_flows: served(actors, { ...flow, name: actors.own1 }) }
    },
  },
  {
    reason: 'DROP_NOT_BACKEND',
    what: 'what another node was asked, for nobody here',
    place: 'from_overlay',
    packet: ({ stranger, service }) => fromTunnel(stranger, service),
    maps: (actors) => ({
      ...ranges(actors),
      test_tunnel: [[0, { ...tunnel, vni: tunnel.vni ^ DSR_VNI }]],
    }),
  },
]

/** Pod a may be asked, but by nobody of this node. */
function asked({ family, service: address, a }: Actors, flags: number): Rows<Shapes> {
  const backends = [{ address: a, port: 8080 }]
  const row = { family, address, port: ports.dport, proto: UDP, backends, external: [], flags }
  return serving(row)
}
