// RTM_*NEIGH of family AF_BRIDGE on the wire (struct ndmsg and NDA_*), and how it becomes an FdbEntry.
import { attrs, NO_UNKNOWN } from '../codec/attrs.ts'
import { body } from '../codec/body.ts'
import { be16, type Infer, i32, ip, mac, u8, u16, u32 } from '../codec/codec.ts'
import type { Reader } from '../codec/reader.ts'
import { pad, struct } from '../codec/struct.ts'
import { compact } from './compact.ts'
import { AF_BRIDGE } from './constants.ts'
import type { FdbEntry, FdbFilter, FdbKey, FdbSpec, FdbState } from './fdb-entry.ts'

const NTF_SELF = 0x02
const NTF_MASTER = 0x04
const NTF_EXT_LEARNED = 0x10

const NUD_REACHABLE = 0x02
const NUD_STALE = 0x04
const NUD_NOARP = 0x40
const NUD_PERMANENT = 0x80

const ndmsg = struct('ndmsg', {
  family: u8,
  pad: pad(3),
  index: i32,
  state: u16,
  flags: u8,
  type: u8,
})

/** NDA_* of linux/neighbour.h. */
const fdbAttrs = attrs('fdb', {
  dst: [1, ip],
  mac: [2, mac],
  vlan: [5, u16],
  port: [6, be16],
  vni: [7, u32],
  viaIndex: [8, u32],
  masterIndex: [9, u32],
  sourceVni: [11, u32],
  nextHopId: [13, u32],
})

export const fdbMessage = body(ndmsg, fdbAttrs)
export type FdbBody = Infer<typeof fdbMessage>

export function fdbListToWire({ index = 0, masterIndex }: FdbFilter): FdbBody {
  const header = { family: AF_BRIDGE, index, state: 0, flags: 0, type: 0 }
  return { header, attrs: { masterIndex } }
}

/** Undefined for what is not of a bridge or tunnel. */
export function decodeFdbEntry(reader: Reader): FdbEntry | undefined {
  const { header, attrs: wire } = fdbMessage.decode(reader)
  if (header.family !== AF_BRIDGE) return undefined
  return compact({
    index: header.index,
    mac: wire.mac ?? '',
    table: header.flags & NTF_SELF ? 'self' : 'master',
    state: stateName(header.state),
    isExternal: (header.flags & NTF_EXT_LEARNED) !== 0,
    masterIndex: wire.masterIndex,
    vlan: wire.vlan,
    dst: wire.dst,
    vni: wire.vni,
    sourceVni: wire.sourceVni,
    port: wire.port,
    viaIndex: wire.viaIndex,
    nextHopId: wire.nextHopId,
    flags: header.flags,
    stateBits: header.state,
    unknown: wire.unknown ?? NO_UNKNOWN,
  } as const)
}

export function fdbSpecToWire(spec: FdbSpec): FdbBody {
  const { header, attrs: key } = fdbKeyToWire(spec)
  const flags = header.flags | (spec.isExternal ? NTF_EXT_LEARNED : 0)
  return {
    header: { ...header, flags, state: stateBits(spec.state ?? 'static') },
    attrs: { ...key, nextHopId: spec.nextHopId },
  }
}

export function fdbKeyToWire(key: FdbKey): FdbBody {
  const flags = key.table === 'master' ? NTF_MASTER : NTF_SELF
  return {
    header: { family: AF_BRIDGE, index: key.index, state: 0, flags, type: 0 },
    attrs: {
      dst: key.dst,
      mac: key.mac,
      vlan: key.vlan,
      port: key.port,
      vni: key.vni,
      viaIndex: key.viaIndex,
      sourceVni: key.sourceVni,
    },
  }
}

function stateName(state: number): FdbState {
  if (state & NUD_PERMANENT) return 'permanent'
  if (state & NUD_NOARP) return 'static'
  return state & NUD_STALE ? 'stale' : 'dynamic'
}

function stateBits(state: Exclude<FdbState, 'stale'>): number {
  switch (state) {
    case 'permanent':
      return NUD_PERMANENT | NUD_NOARP
    case 'static':
      return NUD_NOARP | NUD_REACHABLE
    case 'dynamic':
      return NUD_REACHABLE
  }
}
