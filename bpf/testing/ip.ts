// IP layers of test packets: both families, options, extension headers, fragments.
import { internetChecksum } from './checksum.ts'
import { ETH_P_IP, ETH_P_IPV6, joined, type Layer } from './packet.ts'
import { familyOf, ipBytes } from './values.ts'

export const IPPROTO_HOPOPTS = 0
export const IPPROTO_ROUTING = 43
export const IPPROTO_FRAGMENT = 44
export const IPPROTO_NONE = 59
export const IPPROTO_DSTOPTS = 60

export interface Ip4Options {
  readonly src: string
  readonly dst: string
  readonly ttl?: number
  /** DSCP and ECN together. */
  readonly tos?: number
  readonly id?: number
  readonly isDontFragment?: boolean
  readonly hasMoreFragments?: boolean
  /** A multiple of 8. */
  readonly fragmentOffsetBytes?: number
  /** Padded to a multiple of 4 with end-of-list. */
  readonly options?: Uint8Array
  /** From here on: default is what is right. */
  readonly protocol?: number
  readonly totalLength?: number
  readonly headerLength?: number
  readonly checksum?: number
  readonly version?: number
}

export function ip4(options: Ip4Options): Layer {
  const source = ipBytes(options.src, 4)
  const destination = ipBytes(options.dst, 4)
  return {
    etherType: ETH_P_IP,
    protocol: () => 4,
    enclosing: { family: 4, source, destination },
    build(inner, { next }) {
      const extra = options.options ?? new Uint8Array()
      const header = new Uint8Array(20 + Math.ceil(extra.length / 4) * 4)
      const view = new DataView(header.buffer)
      const { version = 4, headerLength = header.length } = options
      view.setUint8(0, (version << 4) | (headerLength / 4))
      view.setUint8(1, options.tos ?? 0)
      view.setUint16(2, options.totalLength ?? header.length + inner.length)
      view.setUint16(4, options.id ?? 0)
      const flags =
        (options.isDontFragment === true ? 0x4000 : 0) |
        (options.hasMoreFragments === true ? 0x2000 : 0)
      view.setUint16(6, flags | ((options.fragmentOffsetBytes ?? 0) / 8))
      view.setUint8(8, options.ttl ?? 64)
      view.setUint8(9, options.protocol ?? next?.protocol?.(4) ?? 255)
      header.set(source, 12)
      header.set(destination, 16)
      header.set(extra, 20)
      view.setUint16(10, options.checksum ?? internetChecksum(header))
      return joined(header, inner)
    },
  }
}

export interface Ip6Options {
  readonly src: string
  readonly dst: string
  readonly hopLimit?: number
  /** DSCP and ECN together. */
  readonly trafficClass?: number
  readonly flowLabel?: number
  /** From here on: default is what is right. */
  readonly nextHeader?: number
  readonly payloadLength?: number
  readonly version?: number
}

export function ip6(options: Ip6Options): Layer {
  const source = ipBytes(options.src, 6)
  const destination = ipBytes(options.dst, 6)
  return {
    etherType: ETH_P_IPV6,
    protocol: () => 41,
    enclosing: { family: 6, source, destination },
    build(inner, { next }) {
      const header = new Uint8Array(40)
      const view = new DataView(header.buffer)
      const { version = 6, trafficClass = 0, flowLabel = 0 } = options
      view.setUint32(0, ((version << 28) | (trafficClass << 20) | flowLabel) >>> 0)
      view.setUint16(4, options.payloadLength ?? inner.length)
      view.setUint8(6, options.nextHeader ?? next?.protocol?.(6) ?? IPPROTO_NONE)
      view.setUint8(7, options.hopLimit ?? 64)
      header.set(source, 8)
      header.set(destination, 24)
      return joined(header, inner)
    },
  }
}

export interface IpOptions {
  readonly src: string
  readonly dst: string
  /** TTL or hop limit. */
  readonly ttl?: number
  /** TOS or traffic class. */
  readonly tos?: number
  /** Of the next header, if it is not what follows. */
  readonly protocol?: number
}

/** IPv4 or IPv6, by the addresses: for tests that run the same in both. */
export function ip({ src, dst, ttl, tos, protocol }: IpOptions): Layer {
  if (familyOf(src) === 4) {
    return ip4({
      src,
      dst,
      ...(ttl === undefined ? {} : { ttl }),
      ...(tos === undefined ? {} : { tos }),
      ...(protocol === undefined ? {} : { protocol }),
    })
  }
  return ip6({
    src,
    dst,
    ...(ttl === undefined ? {} : { hopLimit: ttl }),
    ...(tos === undefined ? {} : { trafficClass: tos }),
    ...(protocol === undefined ? {} : { nextHeader: protocol }),
  })
}

/** An IPv6 extension header with `body` after next header and length, padded to a multiple of 8 (RFC 8200 §4). */
function extension(number: number, body: Uint8Array, nextHeader?: number): Layer {
  return {
    protocol: () => number,
    build(inner, { next }) {
      const header = new Uint8Array(Math.ceil((2 + body.length) / 8) * 8)
      header[0] = nextHeader ?? next?.protocol?.(6) ?? IPPROTO_NONE
      header[1] = header.length / 8 - 1
      header.set(body, 2)
      return joined(header, inner)
    },
  }
}

/** PadN over the whole header unless options are given. */
export function hopByHop(options: Uint8Array = Uint8Array.of(1, 4, 0, 0, 0, 0)): Layer {
  return extension(IPPROTO_HOPOPTS, options)
}

export function destinationOptions(options: Uint8Array = Uint8Array.of(1, 4, 0, 0, 0, 0)): Layer {
  return extension(IPPROTO_DSTOPTS, options)
}

export interface RoutingOptions {
  readonly type: number
  readonly segmentsLeft: number
  readonly data?: Uint8Array
}

export function routing({ type, segmentsLeft, data = new Uint8Array(4) }: RoutingOptions): Layer {
  return extension(IPPROTO_ROUTING, joined(Uint8Array.of(type, segmentsLeft), data))
}

export interface Fragment6Options {
  readonly id: number
  /** A multiple of 8. */
  readonly offsetBytes: number
  readonly hasMore: boolean
  /** Of the fragmented packet, if what follows here is only a piece of it. */
  readonly nextHeader?: number
}

/** The IPv6 fragment header, RFC 8200 §4.5. */
export function fragment6({ id, offsetBytes, hasMore, nextHeader }: Fragment6Options): Layer {
  return {
    protocol: () => IPPROTO_FRAGMENT,
    build(inner, { next }) {
      const header = new Uint8Array(8)
      const view = new DataView(header.buffer)
      view.setUint8(0, nextHeader ?? next?.protocol?.(6) ?? IPPROTO_NONE)
      view.setUint16(2, offsetBytes | (hasMore ? 1 : 0))
      view.setUint32(4, id)
      return joined(header, inner)
    },
  }
}
