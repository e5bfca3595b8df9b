// RTM_*QDISC, RTM_*TCLASS and RTM_*TFILTER on the wire (struct tcmsg and TCA_*), and what they become.
import { attrs, indexed, NO_UNKNOWN } from '../codec/attrs.ts'
import { body } from '../codec/body.ts'
import { bytes, type Infer, i32, rawNest, text, u8, u16, u32 } from '../codec/codec.ts'
import { hostIsLittleEndian, Reader } from '../codec/reader.ts'
import { pad, struct } from '../codec/struct.ts'
import { Writer } from '../codec/writer.ts'
import { compact } from './compact.ts'
import { AF_UNSPEC } from './constants.ts'
import type { TrafficClassKey, TrafficClassSpec } from './shaping.ts'
import {
  htbClassFrom,
  htbClassToWire,
  htbFrom,
  htbToWire,
  statisticsAttrs,
  statisticsFrom,
  tbfFrom,
  tbfToWire,
} from './shaping-message.ts'
import type {
  BpfFilter,
  BpfFilterSpec,
  Filter,
  FilterKey,
  FilterParent,
  Qdisc,
  QdiscKey,
  QdiscSpec,
  RedirectSpec,
  TrafficClass,
} from './traffic.ts'

/** The parent of the clsact qdisc (TC_H_CLSACT), which is also where its handle comes from. */
const TC_H_CLSACT = 0xffff_fff1
const CLSACT_HANDLE = 0xffff_0000
const TC_H_ROOT = 0xffff_ffff
const ETH_P_ALL = 3
const TCA_BPF_FLAG_ACT_DIRECT = 1
const TCA_EGRESS_REDIR = 1
const TC_ACT_STOLEN = 4
/** One classic instruction, `ret -1`: everything matches. struct sock_filter { u16 code; u8 jt, jf; u32 k; } */
const MATCH_ALL = Uint8Array.of(...(hostIsLittleEndian ? [6, 0] : [0, 6]), 0, 0, 255, 255, 255, 255)

/** TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS) and _EGRESS. */
const parents = { ingress: 0xffff_fff2, egress: 0xffff_fff3 } as const

const tcmsg = struct('tcmsg', {
  family: u8,
  pad: pad(3),
  index: i32,
  handle: u32,
  parent: u32,
  /** Of a filter: priority above, ethernet protocol in network order below. */
  info: u32,
})

/** TCA_* of linux/rtnetlink.h. */
const trafficAttrs = attrs('tc', {
  kind: [1, text(15)],
  /** Its meaning depends on `kind`. */
  options: [2, rawNest],
  statistics: [7, statisticsAttrs],
  chain: [11, u32],
})

export const trafficMessage = body(tcmsg, trafficAttrs)
export type TrafficBody = Infer<typeof trafficMessage>

/** TCA_BPF_* of linux/pkt_cls.h. */
const bpfAttrs = attrs('tc-bpf', {
  actions: [
    1,
    // TCA_ACT_*.
    indexed(attrs('tc-action', { kind: [1, text(15)], options: [2, rawNest] })),
  ],
  classId: [3, u32],
  classicLength: [4, u16],
  classic: [5, bytes()],
  fd: [6, u32],
  name: [7, text(255)],
  flags: [8, u32],
  tag: [10, bytes(8)],
  programId: [11, u32],
})

/** TCA_MIRRED_* of linux/tc_act/tc_mirred.h. */
const mirredAttrs = attrs('tc-mirred', {
  parameters: [
    2,
    struct('tc_mirred', {
      actionIndex: u32,
      capabilities: u32,
      action: i32,
      references: i32,
      bindings: i32,
      direction: i32,
      toIndex: u32,
    }),
  ],
})

export function trafficHeader(header: Partial<TrafficBody['header']>): TrafficBody['header'] {
  return { family: AF_UNSPEC, index: 0, handle: 0, parent: 0, info: 0, ...header }
}

export function decodeQdisc(reader: Reader): Qdisc {
  const { header, attrs: wire } = trafficMessage.decode(reader)
  return compact({
    index: header.index,
    kind: wire.kind ?? '',
    handle: header.handle,
    parent: header.parent,
    ...qdiscOptions(wire.kind, wire.options),
    statistics: wire.statistics && statisticsFrom(wire.statistics),
    unknown: wire.unknown ?? NO_UNKNOWN,
  })
}

function qdiscOptions(
  kind: string | undefined,
  options: Uint8Array | undefined,
): Partial<Pick<Qdisc, 'tbf' | 'htb' | 'options'>> {
  if (options === undefined) return {}
  switch (kind) {
    case 'tbf':
      return compact({ tbf: tbfFrom(options) })
    case 'htb':
      return compact({ htb: htbFrom(options) })
    default:
      return { options }
  }
}

export function qdiscSpecToWire(spec: QdiscSpec): TrafficBody {
  const { header, attrs: key } = qdiscKeyToWire(spec)
  switch (spec.kind) {
    case 'clsact':
    case 'ingress':
      return { header, attrs: key }
    case 'tbf':
      return {
        header: { ...header, handle: spec.handle ?? 0 },
        attrs: { ...key, options: tbfToWire(spec) },
      }
    case 'htb':
      return {
        header: { ...header, handle: spec.handle },
        attrs: { ...key, options: htbToWire(spec) },
      }
  }
}

export function qdiscKeyToWire({ index, kind, parent = TC_H_ROOT }: QdiscKey): TrafficBody {
  const isHook = kind === 'clsact' || kind === 'ingress'
  const header = isHook ? { handle: CLSACT_HANDLE, parent: TC_H_CLSACT } : { parent }
  return { header: trafficHeader({ index, ...header }), attrs: { kind } }
}

export function decodeTrafficClass(reader: Reader): TrafficClass {
  const { header, attrs: wire } = trafficMessage.decode(reader)
  const { kind = '', options } = wire
  return compact({
    index: header.index,
    kind,
    handle: header.handle,
    parent: header.parent,
    ...(kind === 'htb' && options ? { htb: htbClassFrom(options) } : { options }),
    statistics: wire.statistics && statisticsFrom(wire.statistics),
    unknown: wire.unknown ?? NO_UNKNOWN,
  })
}

export function classSpecToWire(spec: TrafficClassSpec): TrafficBody {
  const { index, kind, handle, parent } = spec
  return {
    header: trafficHeader({ index, handle, parent }),
    attrs: { kind, options: htbClassToWire(spec) },
  }
}

export function classKeyToWire({ index, handle }: TrafficClassKey): TrafficBody {
  return { header: trafficHeader({ index, handle }), attrs: {} }
}

export function decodeFilter(reader: Reader): Filter {
  const { header, attrs: wire } = trafficMessage.decode(reader)
  const { kind = '', options } = wire
  return compact({
    index: header.index,
    parent: parentName(header.parent),
    priority: header.info >>> 16,
    handle: header.handle,
    protocol: swap16(header.info & 0xffff),
    chain: wire.chain ?? 0,
    kind,
    ...(kind === 'bpf' && options ? bpfFrom(options) : { options }),
    unknown: wire.unknown ?? NO_UNKNOWN,
  })
}

export function filterListToWire(index: number, parent: FilterParent | number): TrafficBody {
  return { header: trafficHeader({ index, parent: parentNumber(parent) }), attrs: {} }
}

export function filterKeyToWire({ index, parent, priority, handle }: FilterKey): TrafficBody {
  if (!Number.isInteger(priority) || priority < 1 || priority > 0xffff) {
    throw new RangeError(`filter priority ${priority} is not 1 to 65535`)
  }
  const info = ((priority << 16) | swap16(ETH_P_ALL)) >>> 0
  return {
    header: trafficHeader({ index, handle, parent: parentNumber(parent), info }),
    attrs: { kind: 'bpf' },
  }
}

export function bpfFilterToWire(spec: BpfFilterSpec): TrafficBody {
  const { fd, name, classId } = spec
  // With a class the return value is one too; without, it is the verdict.
  const flags = classId === undefined ? TCA_BPF_FLAG_ACT_DIRECT : 0
  return withOptions(spec, { classId, fd, name, flags })
}

export function redirectToWire(spec: RedirectSpec): TrafficBody {
  const mirred = new Writer(64)
  mirredAttrs.encode(mirred, {
    parameters: {
      actionIndex: 0,
      capabilities: 0,
      action: TC_ACT_STOLEN,
      references: 0,
      bindings: 0,
      direction: TCA_EGRESS_REDIR,
      toIndex: spec.toIndex,
    },
  })
  return withOptions(spec, {
    actions: [{ kind: 'mirred', options: mirred.toBytes() }],
    classicLength: 1,
    classic: MATCH_ALL,
  })
}

function withOptions(key: FilterKey, options: Infer<typeof bpfAttrs>): TrafficBody {
  const { header, attrs: identity } = filterKeyToWire(key)
  const writer = new Writer(64)
  bpfAttrs.encode(writer, options)
  return { header, attrs: { ...identity, options: writer.toBytes() } }
}

function bpfFrom(options: Uint8Array): { bpf: BpfFilter; toIndex: number | undefined } {
  const wire = bpfAttrs.decode(new Reader(options, 'tc-bpf'))
  const { name, programId, tag, flags = 0 } = wire
  const bpf = compact({
    name,
    programId,
    tag: tag && Buffer.from(tag).toString('hex'),
    isDirectAction: (flags & TCA_BPF_FLAG_ACT_DIRECT) !== 0,
  })
  const action = wire.actions?.find(({ kind }) => kind === 'mirred')?.options
  const mirred = action && mirredAttrs.decode(new Reader(action, 'tc-mirred'))
  return { bpf, toIndex: mirred?.parameters?.toIndex }
}

function parentNumber(parent: FilterParent | number): number {
  return typeof parent === 'number' ? parent : parents[parent]
}

function parentName(parent: number): FilterParent | number {
  if (parent === parents.ingress) return 'ingress'
  return parent === parents.egress ? 'egress' : parent
}

/** Between host and network order. */
function swap16(value: number): number {
  return hostIsLittleEndian ? ((value & 0xff) << 8) | (value >>> 8) : value
}
