// RTM_*NEXTHOP on the wire (struct nhmsg and NHA_*), and how it becomes a Nexthop.
import { attrs, NO_UNKNOWN } from '../codec/attrs.ts'
import { body } from '../codec/body.ts'
import { type Codec, flag, type Infer, ip, u8, u16, u32 } from '../codec/codec.ts'
import type { Reader } from '../codec/reader.ts'
import { pad, struct } from '../codec/struct.ts'
import { compact } from './compact.ts'
import { AF_UNSPEC, addressFamily, ipFamily } from './constants.ts'
import { RTNH_F_ONLINK } from './next-hops.ts'
import type { Nexthop, NexthopMember, NexthopSpec } from './nexthop.ts'

const NEXTHOP_GRP_TYPE_MPATH = 0
const NEXTHOP_GRP_TYPE_RES = 1
const MEMBER_BYTES = 8

const nhmsg = struct('nhmsg', {
  family: u8,
  /** Of the answer only. */
  scope: u8,
  protocol: u8,
  reserved: pad(1),
  flags: u32,
})

/** An array of `struct nexthop_grp { u32 id; u8 weight - 1; u8 weight_high; u16 reserved; }`. */
const members: Codec<readonly NexthopMember[]> = {
  encode(writer, value) {
    for (const { id, weight = 1 } of value) {
      if (!Number.isInteger(weight) || weight < 1 || weight > 256) {
        throw new RangeError(`weight ${weight} is not 1 to 256`)
      }
      u32.encode(writer, id)
      writer.u8(weight - 1)
      writer.zeros(3)
    }
  },
  decode(reader) {
    const list: NexthopMember[] = []
    while (reader.remaining >= MEMBER_BYTES) {
      const id = reader.u32()
      const low = reader.u8()
      // Weights over 256, Linux 6.12 and newer.
      const high = reader.u8()
      reader.skip(2)
      list.push({ id, weight: ((high << 8) | low) + 1 })
    }
    return list
  },
}

/** NHA_* of linux/nexthop.h. */
const nexthopAttrs = attrs('nexthop-object', {
  id: [1, u32],
  group: [2, members],
  groupType: [3, u16],
  blackhole: [4, flag],
  index: [5, u32],
  gateway: [6, ip],
  /** In lists: groups only. */
  groups: [9, flag],
  fdb: [11, flag],
  /** NHA_RES_GROUP_*. */
  resilient: [
    12,
    attrs('resilient', { buckets: [1, u16], idleCs: [2, u32], unbalancedCs: [3, u32] }),
  ],
})

export const nexthopMessage = body(nhmsg, nexthopAttrs)
export type NexthopBody = Infer<typeof nexthopMessage>

export function nexthopHeader(header: Partial<NexthopBody['header']> = {}): NexthopBody['header'] {
  return { family: AF_UNSPEC, scope: 0, protocol: 0, flags: 0, ...header }
}

export function decodeNexthop(reader: Reader): Nexthop {
  const { header, attrs: wire } = nexthopMessage.decode(reader)
  const { buckets, idleCs, unbalancedCs } = wire.resilient ?? {}
  return compact({
    id: wire.id ?? 0,
    family: ipFamily(header.family),
    protocol: header.protocol,
    index: wire.index,
    via: wire.gateway,
    isBlackhole: wire.blackhole === true,
    isFdb: wire.fdb === true,
    onlink: (header.flags & RTNH_F_ONLINK) !== 0,
    group: wire.group,
    resilient: wire.resilient && { buckets, idleCs, unbalancedCs },
    flags: header.flags,
    unknown: wire.unknown ?? NO_UNKNOWN,
  })
}

export function nexthopSpecToWire(spec: NexthopSpec): NexthopBody {
  const { id, protocol = 0 } = spec
  if (!Number.isInteger(id) || id < 1) throw new RangeError(`${id} is not the id of a next hop`)
  if ('group' in spec) {
    const resilient = 'resilient' in spec ? spec.resilient : undefined
    return {
      header: nexthopHeader({ protocol }),
      attrs: {
        id,
        group: spec.group,
        groupType: resilient ? NEXTHOP_GRP_TYPE_RES : NEXTHOP_GRP_TYPE_MPATH,
        fdb: 'fdb' in spec ? true : undefined,
        resilient,
      },
    }
  }
  const via = 'via' in spec ? spec.via : undefined
  const family = via === undefined ? familyOf(spec) : via.includes(':') ? 6 : 4
  return {
    header: nexthopHeader({
      family: addressFamily(family),
      protocol,
      flags: 'onlink' in spec && spec.onlink ? RTNH_F_ONLINK : 0,
    }),
    attrs: {
      id,
      blackhole: 'blackhole' in spec ? true : undefined,
      index: 'index' in spec ? spec.index : undefined,
      gateway: via,
      fdb: 'fdb' in spec ? true : undefined,
    },
  }
}

function familyOf(spec: NexthopSpec): 4 | 6 {
  return 'family' in spec && spec.family !== undefined ? spec.family : 4
}
