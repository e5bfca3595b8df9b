// Drops of packets for a service: of an address that no service has, and of one that only pods of this node may serve.
import { IPCACHE_SERVICES, SERVICE_INTERNAL_LOCAL } from '../../src/layouts.ts'
import type { Rows } from '../../testing/index.ts'
import { SERVICES, serving } from '../service-rows.ts'
import { type Actors, readyConfig, type Shapes } from '../world.ts'
import { type Drop, fromA, ports } from './drop.ts'

const UDP = 17

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
]
