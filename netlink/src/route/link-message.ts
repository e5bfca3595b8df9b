// RTM_*LINK on the wire (struct ifinfomsg and IFLA_*), and how it becomes a Link.
import { attrs, NO_UNKNOWN } from '../codec/attrs.ts'
import { body } from '../codec/body.ts'
import {
  type Codec,
  type Infer,
  i32,
  mac,
  named,
  rawNest,
  repeated,
  text,
  u8,
  u16,
  u32,
  u64,
} from '../codec/codec.ts'
import { Reader } from '../codec/reader.ts'
import { pad, struct } from '../codec/struct.ts'
import { Writer } from '../codec/writer.ts'
import { compact } from './compact.ts'
import { AF_UNSPEC } from './constants.ts'
import type { Link } from './link.ts'
import {
  bondAttrs,
  bridgeAttrs,
  macvlanAttrs,
  netkitAttrs,
  vlanAttrs,
  vrfAttrs,
  vxlanAttrs,
  vxlanFromWire,
} from './link-kinds.ts'

export const IFF_UP = 0x1
export const IFF_PROMISC = 0x100
const IFF_LOWER_UP = 0x1_0000

export const ifinfomsg = struct('ifinfomsg', {
  family: u8,
  pad: pad(1),
  type: u16,
  index: i32,
  flags: u32,
  /** Which bits of `flags` a change is about. */
  change: u32,
})

/** IFNAMSIZ is 16 with the NUL. */
const ifName = text(15)

const operState = named(u8, {
  unknown: 0,
  notpresent: 1,
  down: 2,
  lowerlayerdown: 3,
  testing: 4,
  dormant: 5,
  up: 6,
})

/** IN6_ADDR_GEN_MODE_* of linux/if_link.h. */
const addrGenMode = named(u8, { eui64: 0, none: 1, 'stable-privacy': 2, random: 3 })

/** The counters behind these, all 64 bits, tell more about kinds of errors. */
const statistics = struct(
  'rtnl_link_stats64',
  {
    rxPackets: u64,
    txPackets: u64,
    rxBytes: u64,
    txBytes: u64,
    rxErrors: u64,
    txErrors: u64,
    rxDropped: u64,
    txDropped: u64,
  },
  { isExtensible: true },
)

const linkInfo = attrs('linkinfo', {
  kind: [1, text(63)],
  /** Its meaning depends on `kind`. */
  data: [2, rawNest],
})

/** IFLA_* of linux/if_link.h. */
export const linkAttrs = attrs('link', {
  mac: [1, mac],
  name: [3, ifName],
  mtu: [4, u32],
  peerIndex: [5, u32],
  masterIndex: [10, u32],
  txQueueLen: [13, u32],
  operState: [16, operState],
  info: [18, linkInfo],
  alias: [20, text(255)],
  statistics: [23, statistics],
  afSpec: [26, attrs('afspec', { inet6: [10, attrs('inet6', { addrGenMode: [8, addrGenMode] })] })],
  group: [27, u32],
  netnsFd: [28, i32],
  extMask: [29, u32],
  txQueues: [31, u32],
  rxQueues: [32, u32],
  peerNetnsId: [37, i32],
  /** IFLA_XDP_*; the number of the program is there while one is. */
  xdp: [43, attrs('xdp', { programId: [4, u32] })],
  properties: [52, attrs('properties', { altNames: [53, repeated(text(127))] })],
})

export const linkMessage = body(ifinfomsg, linkAttrs)
export type LinkAttrs = Infer<typeof linkAttrs>
type LinkHeader = Infer<typeof ifinfomsg>

/** VETH_INFO_PEER: the other end is described by a whole second message without its netlink header. */
export const vethAttrs = attrs('veth', { peer: [1, linkMessage] })

/** IFLA_NETKIT_PEER_INFO, as VETH_INFO_PEER; the kernel never sends it. */
export const netkitData = attrs('netkit', { peer: [1, linkMessage], ...netkitAttrs })

export function linkHeader(header: Partial<LinkHeader>): LinkHeader {
  return { family: AF_UNSPEC, type: 0, index: 0, flags: 0, change: 0, ...header }
}

/** The attributes of one kind as the bytes of IFLA_INFO_DATA. */
export function kindData<T>(codec: Codec<T>, value: T): Uint8Array {
  const writer = new Writer()
  codec.encode(writer, value)
  return writer.toBytes()
}

/**
 * Undefined for AF_BRIDGE: bridges speak of their ports with the same message types and attributes of their own, and a port that
 * leaves its bridge is then RTM_DELLINK of a device that lives on.
 */
export function decodeLink(reader: Reader): Link | undefined {
  const header = ifinfomsg.decode(reader)
  if (header.family !== AF_UNSPEC) {
    reader.skip(reader.remaining)
    return undefined
  }
  return linkFrom(header, linkAttrs.decode(reader))
}

function linkFrom(header: LinkHeader, wire: LinkAttrs): Link {
  const kind = wire.info?.kind
  return compact({
    index: header.index,
    name: wire.name ?? '',
    altNames: wire.properties?.altNames ?? [],
    kind,
    type: header.type,
    alias: wire.alias,
    mac: wire.mac === '' ? undefined : wire.mac,
    mtu: wire.mtu ?? 0,
    isUp: (header.flags & IFF_UP) !== 0,
    hasCarrier: (header.flags & IFF_LOWER_UP) !== 0,
    operState: wire.operState ?? 'unknown',
    flags: header.flags,
    group: wire.group ?? 0,
    txQueueLen: wire.txQueueLen,
    txQueues: wire.txQueues,
    rxQueues: wire.rxQueues,
    masterIndex: wire.masterIndex,
    // 0 stands for a peer in a namespace this one has no number for.
    peerIndex: wire.peerIndex,
    peerNetnsId: wire.peerNetnsId,
    xdpProgramId: wire.xdp?.programId,
    addrGenMode: wire.afSpec?.inet6?.addrGenMode,
    statistics: wire.statistics,
    ...kindOptions(kind, wire.info?.data),
    unknown: wire.unknown ?? NO_UNKNOWN,
  })
}

function kindOptions(
  kind: string | undefined,
  data: Uint8Array | undefined,
): Pick<Link, 'vxlan' | 'bridge' | 'macvlan' | 'netkit' | 'vlan' | 'bond' | 'vrf' | 'kindData'> {
  if (data === undefined) return {}
  const reader = new Reader(data, kind)
  switch (kind) {
    case 'vxlan':
      return { vxlan: vxlanFromWire(vxlanAttrs.decode(reader)) }
    case 'bridge':
      return { bridge: bridgeAttrs.decode(reader) }
    case 'macvlan':
      return { macvlan: macvlanAttrs.decode(reader) }
    case 'netkit':
      return { netkit: netkitData.decode(reader) }
    case 'vlan':
      return { vlan: vlanAttrs.decode(reader) }
    case 'bond':
      return { bond: bondAttrs.decode(reader) }
    case 'vrf':
      return { vrf: vrfAttrs.decode(reader) }
    default:
      return { kindData: data }
  }
}
