// Structures of linux/inet_diag.h between bytes and values: which sockets are asked for, and what is said of one.
import { be16, bytes, type Infer, u8, u32 } from '../codec/codec.ts'
import type { Reader } from '../codec/reader.ts'
import { pad, struct } from '../codec/struct.ts'
import { formatIp, parseIp } from '../ip.ts'
import { addressFamily } from '../route/constants.ts'

/** linux/sock_diag.h */
export const SOCK_DIAG_BY_FAMILY = 20
export const SOCK_DESTROY = 21

const protocols = { tcp: 6, udp: 17 } as const
export type DiagProtocol = keyof typeof protocols

/** Numbers of net/tcp_states.h, which UDP uses too: connected is established. */
export const socketStates = { established: 1, close: 7, listen: 10 } as const
export type SocketState = keyof typeof socketStates

/** `struct inet_diag_sockid`. */
const sockid = struct('inet_diag_sockid', {
  sport: be16,
  dport: be16,
  src: bytes(16),
  dst: bytes(16),
  ifindex: u32,
  cookieLow: u32,
  cookieHigh: u32,
})
type SockId = Infer<typeof sockid>

/** `struct inet_diag_req_v2`. */
export const inetDiagRequest = struct('inet_diag_req_v2', {
  family: u8,
  protocol: u8,
  extensions: u8,
  pad: pad(1),
  states: u32,
  id: sockid,
})
export type InetDiagRequest = Infer<typeof inetDiagRequest>

/** `struct inet_diag_msg`; attributes that were not asked for may follow. */
const inetDiagMessage = struct(
  'inet_diag_msg',
  {
    family: u8,
    state: u8,
    timer: u8,
    retransmits: u8,
    id: sockid,
    expires: u32,
    receiveQueue: u32,
    sendQueue: u32,
    uid: u32,
    inode: u32,
  },
  { isExtensible: true },
)

export interface SocketEnd {
  /** IPv4 in an IPv6 socket is written as such: `::ffff:10.0.0.1`. */
  readonly address: string
  readonly port: number
}

export interface InetSocket {
  readonly family: 4 | 6
  readonly protocol: DiagProtocol
  readonly local: SocketEnd
  readonly remote: SocketEnd
  /** The device it is bound to; 0 = none. */
  readonly ifindex: number
  /** No other socket ever has it: a socket with these ends and another cookie is not meant. `ANY_COOKIE` means each. */
  readonly cookie: bigint
}

export interface SocketFilter {
  readonly family: 4 | 6
  readonly protocol: DiagProtocol
  readonly state?: SocketState
  /** Of the other end. */
  readonly remotePort?: number
}

const ALL_STATES = 0xffff_ffff
const NOBODY = new Uint8Array(16)
/** `INET_DIAG_NOCOOKIE` in both halves. */
export const ANY_COOKIE = 0xffff_ffff_ffff_ffffn

export function listToWire({ family, protocol, state, remotePort }: SocketFilter): InetDiagRequest {
  return {
    family: addressFamily(family),
    protocol: protocols[protocol],
    extensions: 0,
    states: state === undefined ? ALL_STATES : 1 << socketStates[state],
    id: {
      ...{ sport: 0, dport: remotePort ?? 0, src: NOBODY, dst: NOBODY, ifindex: 0 },
      ...cookieToWire(ANY_COOKIE),
    },
  }
}

export function socketToWire(socket: InetSocket): InetDiagRequest {
  const { family, protocol, local, remote, ifindex, cookie } = socket
  return {
    family: addressFamily(family),
    protocol: protocols[protocol],
    extensions: 0,
    states: ALL_STATES,
    id: {
      sport: local.port,
      dport: remote.port,
      src: toWire(local.address, family),
      dst: toWire(remote.address, family),
      ifindex,
      ...cookieToWire(cookie),
    },
  }
}

export function decodeSocket(reader: Reader, protocol: DiagProtocol): InetSocket {
  const { family: number, id } = inetDiagMessage.decode(reader)
  const family = number === addressFamily(4) ? 4 : 6
  return {
    family,
    protocol,
    local: { address: fromWire(id.src, family), port: id.sport },
    remote: { address: fromWire(id.dst, family), port: id.dport },
    ifindex: id.ifindex,
    cookie: cookieOf(id),
  }
}

function cookieToWire(cookie: bigint): Pick<SockId, 'cookieLow' | 'cookieHigh'> {
  return { cookieLow: Number(cookie & 0xffff_ffffn), cookieHigh: Number(cookie >> 32n) }
}

function cookieOf({ cookieLow, cookieHigh }: SockId): bigint {
  return (BigInt(cookieHigh) << 32n) | BigInt(cookieLow)
}

/** IPv4 is the first 4 of the 16 bytes; of an IPv6 socket it is mapped (RFC 4291 §2.5.5.2). */
function toWire(address: string, family: 4 | 6): Uint8Array {
  const { bytes: given } = parseIp(address)
  const wire = new Uint8Array(16)
  if (family === 6 && given.length === 4) {
    wire.fill(0xff, 10, 12)
    wire.set(given, 12)
  } else wire.set(given)
  return wire
}

function fromWire(wire: Uint8Array, family: 4 | 6): string {
  return formatIp(family === 4 ? wire.subarray(0, 4) : wire)
}
