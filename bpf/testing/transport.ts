// TCP and UDP layers of test packets.
import { internetChecksum } from './checksum.ts'
import { joined, type Layer, pseudoOf } from './packet.ts'

export const IPPROTO_TCP = 6
export const IPPROTO_UDP = 17

export const tcpFlags = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr'] as const
export type TcpFlag = (typeof tcpFlags)[number]

export interface TcpOptions {
  readonly sport: number
  readonly dport: number
  readonly flags?: readonly TcpFlag[]
  readonly seq?: number
  readonly ack?: number
  readonly window?: number
  /** Padded to a multiple of 4 with end-of-list. */
  readonly options?: Uint8Array
  readonly headerLength?: number
  readonly checksum?: number
}

export function tcp(options: TcpOptions): Layer {
  return {
    protocol: () => IPPROTO_TCP,
    build(inner, { enclosing }) {
      const extra = options.options ?? new Uint8Array()
      const header = new Uint8Array(20 + Math.ceil(extra.length / 4) * 4)
      const view = new DataView(header.buffer)
      const { flags = ['ack'], headerLength = header.length } = options
      view.setUint16(0, options.sport)
      view.setUint16(2, options.dport)
      view.setUint32(4, options.seq ?? 0)
      view.setUint32(8, options.ack ?? 0)
      view.setUint8(12, (headerLength / 4) << 4)
      view.setUint8(
        13,
        flags.reduce((bits, flag) => bits | (1 << tcpFlags.indexOf(flag)), 0),
      )
      view.setUint16(14, options.window ?? 65535)
      header.set(extra, 20)
      const pseudo = pseudoOf(enclosing, IPPROTO_TCP, header.length + inner.length)
      view.setUint16(16, options.checksum ?? internetChecksum(pseudo, header, inner))
      return joined(header, inner)
    },
  }
}

export interface UdpOptions {
  readonly sport: number
  readonly dport: number
  readonly length?: number
  /** 0 = none. */
  readonly checksum?: number
}

export function udp(options: UdpOptions): Layer {
  return {
    protocol: () => IPPROTO_UDP,
    build(inner, { enclosing }) {
      const header = new Uint8Array(8)
      const view = new DataView(header.buffer)
      const length = header.length + inner.length
      view.setUint16(0, options.sport)
      view.setUint16(2, options.dport)
      view.setUint16(4, options.length ?? length)
      const pseudo = pseudoOf(enclosing, IPPROTO_UDP, length)
      // A sum of 0 is sent as all ones, because 0 means none (RFC 768).
      view.setUint16(6, options.checksum ?? (internetChecksum(pseudo, header, inner) || 0xffff))
      return joined(header, inner)
    },
  }
}
