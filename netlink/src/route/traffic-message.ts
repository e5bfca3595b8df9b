// RTM_*QDISC and RTM_*TFILTER on the wire (struct tcmsg and TCA_*), and how they become a Qdisc or a Filter.
import { attrs } from '../codec/attrs.ts'
import { body } from '../codec/body.ts'
import { bytes, type Infer, i32, rawNest, text, u8, u32 } from '../codec/codec.ts'
import { hostIsLittleEndian, Reader } from '../codec/reader.ts'
import { pad, struct } from '../codec/struct.ts'
import { Writer } from '../codec/writer.ts'
import { compact } from './compact.ts'
import { AF_UNSPEC } from './constants.ts'
import type { BpfFilter, BpfFilterSpec, Filter, FilterKey, FilterParent, Qdisc } from './traffic.ts'

/** The parent of the clsact qdisc (TC_H_CLSACT), which is also where its handle comes from. */
export const TC_H_CLSACT = 0xffff_fff1
export const CLSACT_HANDLE = 0xffff_0000
const ETH_P_ALL = 3
const TCA_BPF_FLAG_ACT_DIRECT = 1

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
  chain: [11, u32],
})

export const trafficMessage = body(tcmsg, trafficAttrs)
export type TrafficBody = Infer<typeof trafficMessage>

/** TCA_BPF_* of linux/pkt_cls.h. */
const bpfAttrs = attrs('tc-bpf', {
  fd: [6, u32],
  name: [7, text(255)],
  flags: [8, u32],
  tag: [10, bytes(8)],
  programId: [11, u32],
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
    options: wire.options,
    unknown: wire.unknown ?? [],
  })
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
    ...(kind === 'bpf' && options ? { bpf: bpfFrom(options) } : { options }),
    unknown: wire.unknown ?? [],
  })
}

export function filterListToWire(index: number, parent: FilterParent): TrafficBody {
  return { header: trafficHeader({ index, parent: parents[parent] }), attrs: {} }
}

export function filterKeyToWire({ index, parent, priority, handle }: FilterKey): TrafficBody {
  if (!Number.isInteger(priority) || priority < 1 || priority > 0xffff) {
    throw new RangeError(`filter priority ${priority} is not 1 to 65535`)
  }
  const info = ((priority << 16) | swap16(ETH_P_ALL)) >>> 0
  return {
    header: trafficHeader({ index, handle, parent: parents[parent], info }),
    attrs: { kind: 'bpf' },
  }
}

export function bpfFilterToWire(spec: BpfFilterSpec): TrafficBody {
  const { header, attrs: key } = filterKeyToWire(spec)
  const options = new Writer(64)
  bpfAttrs.encode(options, { fd: spec.fd, name: spec.name, flags: TCA_BPF_FLAG_ACT_DIRECT })
  return { header, attrs: { ...key, options: options.toBytes() } }
}

function bpfFrom(options: Uint8Array): BpfFilter {
  const { name, programId, tag, flags = 0 } = bpfAttrs.decode(new Reader(options, 'tc-bpf'))
  return compact({
    name,
    programId,
    tag: tag && Buffer.from(tag).toString('hex'),
    isDirectAction: (flags & TCA_BPF_FLAG_ACT_DIRECT) !== 0,
  })
}

function parentName(parent: number): FilterParent | number {
  if (parent === parents.ingress) return 'ingress'
  return parent === parents.egress ? 'egress' : parent
}

/** Between host and network order. */
function swap16(value: number): number {
  return hostIsLittleEndian ? ((value & 0xff) << 8) | (value >>> 8) : value
}
