// Drops of translated flows: no port, fragments in the wrong order, a tuple that is another flow's by now.
import { FLOW_SEEN, FLOW_TRANSLATED } from '../../src/layouts.ts'
import { flowRow, INCARNATION_A, keyOf, reverse } from '../world.ts'
import { type Drop, fromA, ports } from './drop.ts'

const UDP = 17
const NEW_PORT = 50_000

export const translated: readonly Drop[] = [
  {
    reason: 'DROP_TRANSLATION_TAKEN',
    what: "a masqueraded flow whose port is another pod's by now",
    place: 'from_pod',
    packet: ({ a, stranger }) => fromA(a, stranger),
    maps: ({ a, b, node1, stranger }) => {
      const flow = { source: a, target: stranger, proto: UDP, ...ports }
      const outside = { ...flow, source: node1, sport: NEW_PORT }
      const back = reverse(outside)
      return {
        sb_flows: [
          [
            keyOf(flow),
            flowRow({
              kind: 'out',
              sourceIncarnation: INCARNATION_A,
              flags: FLOW_SEEN | FLOW_TRANSLATED,
              to: { saddr: node1, daddr: stranger, sport: NEW_PORT, dport: ports.dport },
            }),
          ],
          [
            keyOf(back),
            flowRow({
              kind: 'local',
              flags: FLOW_TRANSLATED,
              to: { saddr: stranger, daddr: b, sport: ports.dport, dport: ports.sport },
            }),
          ],
        ],
      }
    },
    removes: ({ a, stranger }) => ({ source: a, target: stranger, proto: UDP, ...ports }),
  },
]
