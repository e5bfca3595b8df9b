// RTA_MULTIPATH: a packed array of next hops, each with its own length and attributes, unlike any other netlink list.
//
//   struct rtnexthop { u16 length; u8 flags; u8 hops; i32 ifindex; } then attributes; `length` covers both
import { attrs } from '../codec/attrs.ts'
import { type Codec, ip } from '../codec/codec.ts'
import { compact } from './compact.ts'
import type { NextHop } from './route.ts'
import { gatewayAttrs, via } from './via.ts'

export const RTNH_F_ONLINK = 4
const STRUCT_BYTES = 8

const hopAttrs = attrs('nexthop', { gateway: [5, ip], via: [18, via] })

export interface NextHops {
  /** Of the route; only looked at when encoding. */
  readonly family: 4 | 6
  readonly hops: readonly NextHop[]
}

export const nextHops: Codec<NextHops> = {
  encode(writer, { family, hops }) {
    for (const { index, via: gateway, weight = 1, onlink = false } of hops) {
      if (!Number.isInteger(weight) || weight < 1 || weight > 256) {
        throw new RangeError(`weight ${weight} is not 1 to 256`)
      }
      const start = writer.length
      writer.u16(0)
      writer.u8(onlink ? RTNH_F_ONLINK : 0)
      writer.u8(weight - 1)
      writer.i32(index)
      hopAttrs.encode(writer, gatewayAttrs(gateway, family))
      writer.patch16(start, writer.length - start)
    }
  },
  decode(reader) {
    const hops: NextHop[] = []
    let family: 4 | 6 = 4
    while (reader.remaining > 0) {
      const length = reader.u16()
      const flags = reader.u8()
      const weight = reader.u8() + 1
      const index = reader.i32()
      if (length < STRUCT_BYTES) throw reader.error(`next hop of length ${length}`)
      const outer = reader.narrow(length - STRUCT_BYTES)
      const { gateway, via: foreign } = hopAttrs.decode(reader)
      reader.widen(outer)
      reader.skip(Math.min(-length & 3, reader.remaining))
      if (gateway?.includes(':')) family = 6
      const onlink = (flags & RTNH_F_ONLINK) !== 0 || undefined
      hops.push(compact({ index, via: gateway ?? foreign, weight, onlink }))
    }
    return { family, hops }
  },
}
