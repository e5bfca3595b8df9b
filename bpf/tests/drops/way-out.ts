// Dropped: cannot leave under the node's address.

import { MASQUERADE } from '../outside.ts'
import { laterFragment, links } from '../packets.ts'
import { readyConfig } from '../world.ts'
import { type Drop, fromA, ports } from './drop.ts'

const masquerading = { ...readyConfig, flags: MASQUERADE }
const onePort = { ...masquerading, portMin: ports.sport, portMax: ports.sport }

export const wayOut: readonly Drop[] = [
  {
    reason: 'DROP_NO_PORT',
    what: 'the only port is reserved',
    place: 'from_pod',
    packet: ({ a, stranger }) => fromA(a, stranger),
    maps: () => ({
      sb_config: [[0, onePort]],
      sb_reserved: [[Math.floor(ports.sport / 64), 1n << BigInt(ports.sport % 64)]],
    }),
  },
  {
    reason: 'DROP_FRAGMENT_ORDER',
    what: 'a later fragment that comes first',
    place: 'from_pod',
    packet: ({ a, stranger }) => laterFragment(links.fromA, { src: a, dst: stranger }),
    maps: () => ({ sb_config: [[0, masquerading]] }),
  },
]
