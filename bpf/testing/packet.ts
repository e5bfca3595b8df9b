// Packets from layers: packet(eth(…), ip4(…), udp(…), payload('hi')) with types, lengths and checksums filled in.
import { pseudoHeader } from './checksum.ts'
import { macBytes } from './values.ts'

export type Family = 4 | 6

/** The IP header around a layer, for checksums; absent outside of one. */
export interface Enclosing {
  readonly family: Family
  readonly source: Uint8Array
  readonly destination: Uint8Array
}

export interface Layer {
  /** What Ethernet calls this layer. */
  readonly etherType?: number
  /** What an IP header of that family calls this layer. */
  protocol?(family: Family): number
  /** Only of IP headers: what the layers inside sum over. */
  readonly enclosing?: Enclosing
  /** The layer's bytes, followed by `inner`. */
  build(inner: Uint8Array, context: BuildContext): Uint8Array
}

export interface BuildContext {
  /** The layer right inside this one. */
  readonly next: Layer | undefined
  /** The IP header nearest outside of this one. */
  readonly enclosing: Enclosing | undefined
}

export const ETH_P_IP = 0x0800
export const ETH_P_ARP = 0x0806
export const ETH_P_IPV6 = 0x86dd

/** Outermost layer first; any layers, also absurd ones. */
export function packet(...layers: readonly Layer[]): Uint8Array {
  let bytes = new Uint8Array()
  for (const [at, layer] of [...layers.entries()].reverse()) {
    const outside = layers.slice(0, at).findLast(({ enclosing }) => enclosing !== undefined)
    const next = layers[at + 1]
    bytes = Uint8Array.from(layer.build(bytes, { next, enclosing: outside?.enclosing }))
  }
  return bytes
}

export interface EthOptions {
  readonly src: string
  readonly dst: string
  /** Default: of the next layer. */
  readonly type?: number
}

export function eth({ src, dst, type }: EthOptions): Layer {
  return {
    build(inner, { next }) {
      const header = new Uint8Array(14)
      header.set(macBytes(dst))
      header.set(macBytes(src), 6)
      new DataView(header.buffer).setUint16(12, type ?? next?.etherType ?? 0)
      return joined(header, inner)
    },
  }
}

export interface VxlanOptions {
  readonly vni: number
  /** RFC 7348: only the I flag. */
  readonly flags?: number
}

export function vxlan({ vni, flags = 0x08 }: VxlanOptions): Layer {
  return {
    build(inner) {
      const header = new Uint8Array(8)
      const view = new DataView(header.buffer)
      view.setUint8(0, flags)
      view.setUint32(4, vni << 8)
      return joined(header, inner)
    },
  }
}

/** Text, bytes, or a count of bytes that differ from their neighbours. */
export function payload(content: string | Uint8Array | number): Layer {
  const bytes =
    typeof content === 'string'
      ? new TextEncoder().encode(content)
      : typeof content === 'number'
        ? Uint8Array.from({ length: content }, (_, i) => i % 251)
        : content
  return { build: (inner) => joined(bytes, inner) }
}

/** The pseudo header of a layer whose bytes are `length` long; empty outside of IP. */
export function pseudoOf(
  enclosing: Enclosing | undefined,
  protocol: number,
  length: number,
): Uint8Array {
  if (enclosing === undefined) return new Uint8Array()
  return pseudoHeader(enclosing.source, enclosing.destination, protocol, length)
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}
