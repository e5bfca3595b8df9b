// RTM_*NEIGH on the wire (struct ndmsg and NDA_*), and how it becomes a Neighbour.
import { attrs, NO_UNKNOWN } from '../codec/attrs.ts'
import { body } from '../codec/body.ts'
import { type Infer, i32, ip, mac, named, u8, u16, u32 } from '../codec/codec.ts'
import type { Reader } from '../codec/reader.ts'
import { pad, struct } from '../codec/struct.ts'
import { parseIp } from '../ip.ts'
import { compact } from './compact.ts'
import { addressFamily, ipFamily } from './constants.ts'
import type { Neighbour, NeighbourFlag, NeighbourKey, NeighbourSpec } from './neighbour.ts'

/** NTF_* of linux/neighbour.h. */
const flagBits: readonly (readonly [NeighbourFlag, number])[] = [
  ['use', 0x01],
  ['self', 0x02],
  ['master', 0x04],
  ['proxy', 0x08],
  ['extern-learn', 0x10],
  ['offloaded', 0x20],
  ['router', 0x80],
]

/** NUD_* of linux/neighbour.h. */
const states = {
  none: 0x00,
  incomplete: 0x01,
  reachable: 0x02,
  stale: 0x04,
  delay: 0x08,
  probe: 0x10,
  failed: 0x20,
  noarp: 0x40,
  permanent: 0x80,
} as const

const ndmsg = struct('ndmsg', {
  family: u8,
  pad: pad(3),
  index: i32,
  state: named(u16, states),
  flags: u8,
  type: u8,
})

/** NDA_* of linux/neighbour.h. */
const neighbourAttrs = attrs('neighbour', {
  address: [1, ip],
  mac: [2, mac],
  index: [8, u32],
  protocol: [12, u8],
})

export const neighbourMessage = body(ndmsg, neighbourAttrs)
export type NeighbourBody = Infer<typeof neighbourMessage>

/** Undefined for what is not IP, such as the forwarding entries of a bridge. */
export function decodeNeighbour(reader: Reader): Neighbour | undefined {
  const { header, attrs: wire } = neighbourMessage.decode(reader)
  const family = ipFamily(header.family)
  if (family === undefined || wire.address === undefined) return undefined
  return compact({
    index: header.index,
    address: wire.address,
    family,
    mac: wire.mac,
    state: header.state,
    flags: flagBits.filter(([, bit]) => (header.flags & bit) !== 0).map(([name]) => name),
    protocol: wire.protocol,
    unknown: wire.unknown ?? NO_UNKNOWN,
  })
}

export function neighbourSpecToWire(spec: NeighbourSpec): NeighbourBody {
  const { header, attrs: identity } = neighbourKeyToWire(spec)
  return {
    header: { ...header, state: spec.state ?? 'permanent' },
    attrs: { ...identity, mac: spec.mac, protocol: spec.protocol },
  }
}

export function neighbourKeyToWire({ index, address, flags = [] }: NeighbourKey): NeighbourBody {
  return {
    header: {
      family: addressFamily(parseIp(address).family),
      index,
      state: 'none',
      flags: neighbourFlagMask(flags),
      type: 0,
    },
    attrs: { address },
  }
}

export function neighbourFlagMask(names: readonly NeighbourFlag[]): number {
  return flagBits.reduce((mask, [name, bit]) => (names.includes(name) ? mask | bit : mask), 0)
}
