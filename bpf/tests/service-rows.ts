// Rows of the service maps for vectors: a service, whom it may be asked by, and who answers.
import {
  ANY_NODE_IPV4,
  ANY_NODE_IPV6,
  CONFIG_READY,
  CONFIG_SERVICES,
  NODE_ADDR_HOST_PORTS,
  NODE_ADDR_NODE_PORTS,
  SLOT_MEMBER,
} from '../src/layouts.ts'
import type { Rows } from '../testing/index.ts'
import { ipv4, ipv6, type Shapes } from './world.ts'

export const SERVICES = CONFIG_READY | CONFIG_SERVICES

export interface Answering {
  readonly address: string
  readonly port: number
}

export interface Asked {
  /** Absent: every address of the node. */
  readonly address?: string
  readonly family: 4 | 6
  readonly port: number
  readonly proto: number
  /** Of each list. The same for both unless `external` is there. */
  readonly backends: readonly Answering[]
  readonly external?: readonly Answering[]
  readonly flags?: number
  readonly affinitySec?: number
  readonly id?: number
}

const INTERNAL = 1
const EXTERNAL = 2

/** All rows of one service. Backends have the ids 101, 102 …, those of `external` 201, 202 …. */
export function serving(asked: Asked): Rows<Shapes> {
  const { family, port, proto, backends, external, flags = 0, affinitySec = 0, id = 7 } = asked
  const addr = asked.address ?? (family === 4 ? ANY_NODE_IPV4 : ANY_NODE_IPV6)
  const lists = [
    { list: INTERNAL, first: 101, answering: backends },
    ...(external === undefined ? [] : [{ list: EXTERNAL, first: 201, answering: external }]),
  ]
  const row = {
    id,
    flags,
    internal: INTERNAL,
    external: external === undefined ? INTERNAL : EXTERNAL,
    affinitySec,
  }
  return {
    sb_services: [[{ addr, port, proto }, row]],
    sb_slots: lists.flatMap(({ list, first, answering }) => [
      [
        { list, slot: 0 },
        { backend: answering.length, weight: 0 },
      ] as const,
      ...answering.flatMap((_, i) => [
        [
          { list, slot: i + 1 },
          { backend: first + i, weight: 1 },
        ] as const,
        [
          { list, slot: (SLOT_MEMBER | (first + i)) >>> 0 },
          { backend: i + 1, weight: 0 },
        ] as const,
      ]),
    ]),
    sb_backends: lists.flatMap(({ first, answering }) =>
      answering.map(
        ({ address, port }, i) => [first + i, { addr: address, port, proto, flags: 0 }] as const,
      ),
    ),
    sb_node_addrs: [ipv4, ipv6].map(
      ({ node1 }) => [node1, NODE_ADDR_NODE_PORTS | NODE_ADDR_HOST_PORTS] as const,
    ),
    sb_svc_config: [[0, { hostNetns: 1n, source4: ipv4.own1, source6: ipv6.own1 }]],
  }
}

/** The same lists, of which chance takes the first backend, and the others only who has had one of them. */
export function drawnFirst({ sb_slots = [], ...rest }: Rows<Shapes>): Rows<Shapes> {
  const drawn = sb_slots.map(
    ([key, row]) => [key, key.slot === 0 ? { ...row, backend: 1 } : row] as const,
  )
  return { ...rest, sb_slots: drawn }
}
