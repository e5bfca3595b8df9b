// ICMP, ICMPv6, neighbour discovery and ARP layers of test packets.
import { internetChecksum } from './checksum.ts'
import { ETH_P_ARP, type Family, joined, type Layer, pseudoOf } from './packet.ts'
import { ipBytes, macBytes } from './values.ts'

export const IPPROTO_ICMP = 1
export const IPPROTO_ICMPV6 = 58

export interface IcmpOptions {
  readonly type: number
  readonly code?: number
  /** The second word: id and sequence, MTU, pointer … */
  readonly rest?: number
  readonly checksum?: number
}

/** ICMP for IPv4; what follows is its body, also a whole IP packet. */
export function icmp(options: IcmpOptions): Layer {
  return icmpLayer(() => options)
}

/** ICMPv6. */
export function icmp6(options: IcmpOptions): Layer {
  return icmpLayer(() => options, 6)
}

export interface EchoOptions {
  readonly id: number
  readonly seq?: number
}

/** Echo request of the family it stands in. */
export function echoRequest({ id, seq = 1 }: EchoOptions): Layer {
  return icmpLayer((family) => ({ type: family === 4 ? 8 : 128, rest: word(id, seq) }))
}

/** Echo reply of the family it stands in. */
export function echoReply({ id, seq = 1 }: EchoOptions): Layer {
  return icmpLayer((family) => ({ type: family === 4 ? 0 : 129, rest: word(id, seq) }))
}

/** "Fragmentation needed" or "packet too big"; the packet it is about follows. */
export function tooBig({ mtu }: { readonly mtu: number }): Layer {
  return icmpLayer((family) =>
    family === 4 ? { type: 3, code: 4, rest: mtu } : { type: 2, rest: mtu },
  )
}

/** "Time exceeded in transit"; the packet it is about follows. */
export function timeExceeded(): Layer {
  return icmpLayer((family) => ({ type: family === 4 ? 11 : 3 }))
}

/** "Port unreachable"; the packet it is about follows. */
export function portUnreachable(): Layer {
  return icmpLayer((family) => (family === 4 ? { type: 3, code: 3 } : { type: 1, code: 4 }))
}

function word(high: number, low: number): number {
  return ((high << 16) | low) >>> 0
}

/** `fixed`: the family whatever the packet says, for ICMP of one inside the other. */
function icmpLayer(optionsOf: (family: Family) => IcmpOptions, fixed?: Family): Layer {
  const familyIn = (family: Family | undefined): Family => fixed ?? family ?? 4
  const protocolOf = (family: Family) => (family === 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)
  return {
    protocol: (family) => protocolOf(familyIn(family)),
    build(inner, { enclosing }) {
      const family = familyIn(enclosing?.family)
      const { type, code = 0, rest = 0, checksum } = optionsOf(family)
      const header = new Uint8Array(8)
      const view = new DataView(header.buffer)
      view.setUint8(0, type)
      view.setUint8(1, code)
      view.setUint32(4, rest)
      const pseudo =
        family === 6
          ? pseudoOf(enclosing, IPPROTO_ICMPV6, header.length + inner.length)
          : new Uint8Array()
      view.setUint16(2, checksum ?? internetChecksum(pseudo, header, inner))
      return joined(header, inner)
    },
  }
}

/** Neighbour discovery, RFC 4861: an ICMPv6 message with a body and one link-layer address option. */
function discovery(
  options: IcmpOptions,
  body: Uint8Array,
  option: { readonly type: 1 | 2; readonly mac: string } | undefined,
): Layer {
  const tail =
    option === undefined
      ? new Uint8Array()
      : joined(Uint8Array.of(option.type, 1), macBytes(option.mac))
  const header = icmp6(options)
  return { ...header, build: (inner, context) => header.build(joined(body, tail, inner), context) }
}

export interface SolicitationOptions {
  readonly target: string
  /** Source link-layer address; absent in duplicate address detection. */
  readonly mac?: string
}

export function neighbourSolicitation({ target, mac }: SolicitationOptions): Layer {
  const option = mac === undefined ? undefined : ({ type: 1, mac } as const)
  return discovery({ type: 135 }, ipBytes(target, 6), option)
}

export interface AdvertisementOptions {
  readonly target: string
  /** Target link-layer address. */
  readonly mac?: string
  readonly isRouter?: boolean
  readonly isSolicited?: boolean
  readonly isOverride?: boolean
}

export function neighbourAdvertisement(options: AdvertisementOptions): Layer {
  const { target, mac, isRouter = false, isSolicited = true, isOverride = true } = options
  const flags =
    (isRouter ? 0x80000000 : 0) + (isSolicited ? 0x40000000 : 0) + (isOverride ? 0x20000000 : 0)
  const option = mac === undefined ? undefined : ({ type: 2, mac } as const)
  return discovery({ type: 136, rest: flags }, ipBytes(target, 6), option)
}

export function routerSolicitation({ mac }: { readonly mac?: string } = {}): Layer {
  const option = mac === undefined ? undefined : ({ type: 1, mac } as const)
  return discovery({ type: 133 }, new Uint8Array(), option)
}

export function routerAdvertisement({ mac }: { readonly mac?: string } = {}): Layer {
  const option = mac === undefined ? undefined : ({ type: 1, mac } as const)
  // Hop limit 64, lifetime 1800 s; both timers unspecified.
  return discovery({ type: 134, rest: 0x40000708 }, new Uint8Array(8), option)
}

export interface ArpOptions {
  readonly op: 'request' | 'reply'
  readonly senderMac: string
  readonly senderIp: string
  readonly targetMac?: string
  readonly targetIp: string
}

/** ARP for IPv4 over Ethernet, RFC 826. */
export function arp(options: ArpOptions): Layer {
  const { op, senderMac, senderIp, targetMac = '00:00:00:00:00:00', targetIp } = options
  return {
    etherType: ETH_P_ARP,
    build: (inner) =>
      joined(
        Uint8Array.of(0, 1, 8, 0, 6, 4, 0, op === 'request' ? 1 : 2),
        macBytes(senderMac),
        ipBytes(senderIp, 4),
        macBytes(targetMac),
        ipBytes(targetIp, 4),
        inner,
      ),
  }
}
