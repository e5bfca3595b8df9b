// RTM_*RULE on the wire (struct fib_rule_hdr and FRA_*), and how it becomes a Rule.
import { attrs, NO_UNKNOWN } from '../codec/attrs.ts'
import { body } from '../codec/body.ts'
import { type Infer, ip, named, text, u8, u16, u32 } from '../codec/codec.ts'
import type { Reader } from '../codec/reader.ts'
import { pad, struct } from '../codec/struct.ts'
import { formatIp, parsePrefix } from '../ip.ts'
import { compact } from './compact.ts'
import { addressFamily, ipFamily, RTPROT_BOOT } from './constants.ts'
import type { Rule, RuleAction, RuleKey, RuleSpec } from './rule.ts'

const FIB_RULE_INVERT = 2
/** Said of every rule that suppresses nothing. */
const NO_SUPPRESSION = 0xffff_ffff

/** FR_ACT_* of linux/fib_rules.h. */
const ruleActions = {
  lookup: 1,
  goto: 2,
  nop: 3,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
} as const satisfies Record<RuleAction, number>

const fibRuleHdr = struct('fib_rule_hdr', {
  family: u8,
  dstLen: u8,
  srcLen: u8,
  tos: u8,
  /** FRA_TABLE has the whole number. */
  table: u8,
  pad: pad(2),
  action: named(u8, ruleActions),
  flags: u32,
})

const portRange = struct('fib_rule_port_range', { low: u16, high: u16 })

/** FRA_* of linux/fib_rules.h. */
const ruleAttrs = attrs('rule', {
  dst: [1, ip],
  src: [2, ip],
  inputName: [3, text(15)],
  goto: [4, u32],
  priority: [6, u32],
  mark: [10, u32],
  suppressPrefixLen: [14, u32],
  table: [15, u32],
  markMask: [16, u32],
  outputName: [17, text(15)],
  uids: [20, struct('fib_rule_uid_range', { low: u32, high: u32 })],
  protocol: [21, u8],
  ipProtocol: [22, u8],
  sourcePorts: [23, portRange],
  destinationPorts: [24, portRange],
})

export const ruleMessage = body(fibRuleHdr, ruleAttrs)
export type RuleBody = Infer<typeof ruleMessage>

export function ruleListToWire(family: number): RuleBody {
  const header = { family, dstLen: 0, srcLen: 0, tos: 0, table: 0, action: 0, flags: 0 }
  return { header, attrs: {} }
}

/** Undefined for what is not IP, such as the rules of multicast routing. */
export function decodeRule(reader: Reader): Rule | undefined {
  const { header, attrs: wire } = ruleMessage.decode(reader)
  const family = ipFamily(header.family)
  if (family === undefined) return undefined
  const { suppressPrefixLen, table = header.table } = wire
  return compact({
    family,
    priority: wire.priority ?? 0,
    action: header.action,
    isInverted: (header.flags & FIB_RULE_INVERT) !== 0,
    src: wire.src && `${wire.src}/${header.srcLen}`,
    dst: wire.dst && `${wire.dst}/${header.dstLen}`,
    inputName: wire.inputName,
    outputName: wire.outputName,
    mark: wire.mark,
    markMask: wire.markMask,
    tos: header.tos,
    ipProtocol: wire.ipProtocol,
    sourcePorts: wire.sourcePorts,
    destinationPorts: wire.destinationPorts,
    uids: wire.uids,
    table: table === 0 ? undefined : table,
    goto: wire.goto,
    suppressPrefixLen: suppressPrefixLen === NO_SUPPRESSION ? undefined : suppressPrefixLen,
    protocol: wire.protocol ?? 0,
    unknown: wire.unknown ?? NO_UNKNOWN,
  })
}

export function ruleSpecToWire(spec: RuleSpec): RuleBody {
  const { header, attrs: match } = ruleKeyToWire(spec)
  const action = spec.action ?? (spec.goto === undefined ? 'lookup' : 'goto')
  if (action === 'lookup' && !spec.table) throw new TypeError('a rule needs a table to look into')
  return {
    header: { ...header, action, flags: spec.isInverted ? FIB_RULE_INVERT : 0 },
    attrs: { ...match, protocol: spec.protocol ?? RTPROT_BOOT },
  }
}

/** 0 matches any action in a deletion. */
export function ruleKeyToWire(key: RuleKey): RuleBody {
  const src = key.src === undefined ? undefined : parsePrefix(key.src)
  const dst = key.dst === undefined ? undefined : parsePrefix(key.dst)
  const family = src?.family ?? dst?.family ?? key.family
  if (family === undefined) throw new TypeError('a rule without prefixes needs a family')
  if ([key.family, dst?.family].some((other) => other !== undefined && other !== family)) {
    throw new RangeError(`rule ${key.priority} is of two families`)
  }
  return {
    header: {
      family: addressFamily(family),
      dstLen: dst?.prefixLen ?? 0,
      srcLen: src?.prefixLen ?? 0,
      tos: key.tos ?? 0,
      table: 0,
      action: key.action ?? 0,
      flags: 0,
    },
    attrs: {
      dst: dst && formatIp(dst.bytes),
      src: src && formatIp(src.bytes),
      inputName: key.inputName,
      goto: key.goto,
      priority: key.priority,
      mark: key.mark,
      suppressPrefixLen: key.suppressPrefixLen,
      table: key.table,
      markMask: key.markMask,
      outputName: key.outputName,
      uids: key.uids,
      protocol: key.protocol,
      ipProtocol: key.ipProtocol,
      sourcePorts: key.sourcePorts,
      destinationPorts: key.destinationPorts,
    },
  }
}
