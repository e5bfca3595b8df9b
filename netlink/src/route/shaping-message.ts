// TCA_OPTIONS of tbf and htb, in which a burst is the time it takes to send it and a rate has a number of 32 bits and one of 64.
import { attrs } from '../codec/attrs.ts'
import { type Codec, type Infer, u8, u16, u32, u64 } from '../codec/codec.ts'
import { Reader } from '../codec/reader.ts'
import { struct } from '../codec/struct.ts'
import { Writer } from '../codec/writer.ts'
import { compact } from './compact.ts'
import type {
  HtbClassOptions,
  HtbOptions,
  HtbSpec,
  TbfOptions,
  TbfSpec,
  TrafficClassSpec,
  TrafficStatistics,
} from './shaping.ts'

/** PSCHED_TICKS2NS(1), linux/net/pkt_sched.h. */
const NS_PER_TICK = 64
/** Anything but 0 tells the kernel to compute transmission times itself, instead of from a table sent along. */
const TC_LINKLAYER_ETHERNET = 1
const HTB_VERSION = 3
const HTB_RATE2QUANTUM = 10
const U32_MAX = 0xffff_ffff
const DEFAULT_LATENCY_MS = 50
const ETHERNET_FRAME_BYTES = 1514
/** Beyond these the kernel writes to its log. */
const MIN_QUANTUM_BYTES = 1514
const MAX_QUANTUM_BYTES = 200_000

const rateSpec = struct('tc_ratespec', {
  cellLog: u8,
  linkLayer: u8,
  overhead: u16,
  cellAlign: u16,
  mpu: u16,
  /** Bytes per second; all ones when only the 64-bit number can say it. */
  rate: u32,
})
type RateSpec = Infer<typeof rateSpec>

/** TCA_TBF_* of linux/pkt_sched.h. */
export const tbfAttrs = attrs('tbf', {
  parameters: [
    1,
    struct('tc_tbf_qopt', {
      rate: rateSpec,
      peakRate: rateSpec,
      limitBytes: u32,
      bufferTicks: u32,
      mtu: u32,
    }),
  ],
  rate64: [4, u64],
  burstBytes: [6, u32],
})

/** TCA_HTB_*, of the qdisc and of its classes. */
export const htbAttrs = attrs('htb', {
  class: [
    1,
    struct('tc_htb_opt', {
      rate: rateSpec,
      ceil: rateSpec,
      bufferTicks: u32,
      ceilBufferTicks: u32,
      quantumBytes: u32,
      level: u32,
      priority: u32,
    }),
  ],
  qdisc: [
    2,
    struct('tc_htb_glob', {
      version: u32,
      rate2quantum: u32,
      defaultClass: u32,
      debug: u32,
      directPackets: u32,
    }),
  ],
  directQueueLen: [5, u32],
  rate64: [6, u64],
  ceil64: [7, u64],
})

/** TCA_STATS_* of linux/gen_stats.h. */
export const statisticsAttrs = attrs('tc-stats', {
  basic: [1, struct('gnet_stats_basic', { bytes: u64, packets: u32 }, { isExtensible: true })],
  queue: [
    3,
    struct('gnet_stats_queue', {
      packets: u32,
      bytes: u32,
      drops: u32,
      requeues: u32,
      overlimits: u32,
    }),
  ],
})

export function statisticsFrom({
  basic,
  queue,
}: Infer<typeof statisticsAttrs>): TrafficStatistics | undefined {
  if (basic === undefined) return undefined
  return {
    bytes: basic.bytes,
    packets: basic.packets,
    queuedPackets: queue?.packets ?? 0,
    queuedBytes: queue?.bytes ?? 0,
    drops: queue?.drops ?? 0,
    overlimits: queue?.overlimits ?? 0,
  }
}

export function tbfToWire(spec: TbfSpec): Uint8Array {
  const rate = bytesPerSec(spec.rateBitsPerSec)
  const { burstBytes, latencyMs = DEFAULT_LATENCY_MS } = spec
  const limitBytes = spec.limitBytes ?? Math.round((rate * latencyMs) / 1000 + burstBytes)
  return encoded(tbfAttrs, {
    parameters: {
      rate: rateToWire(rate),
      peakRate: { ...rateToWire(0), linkLayer: 0 },
      limitBytes: Math.min(limitBytes, U32_MAX),
      bufferTicks: ticksOf(burstBytes, rate),
      mtu: 0,
    },
    rate64: rate > U32_MAX ? BigInt(rate) : undefined,
    burstBytes,
  })
}

export function tbfFrom(options: Uint8Array): TbfOptions | undefined {
  const { parameters, rate64 } = tbfAttrs.decode(new Reader(options, 'tbf'))
  if (parameters === undefined) return undefined
  const rate = Number(rate64 ?? parameters.rate.rate)
  return {
    rateBitsPerSec: rate * 8,
    burstBytes: bytesOf(parameters.bufferTicks, rate),
    limitBytes: parameters.limitBytes,
  }
}

export function htbToWire({ defaultClass = 0 }: HtbSpec): Uint8Array {
  return encoded(htbAttrs, {
    qdisc: {
      version: HTB_VERSION,
      rate2quantum: HTB_RATE2QUANTUM,
      defaultClass,
      debug: 0,
      directPackets: 0,
    },
  })
}

export function htbFrom(options: Uint8Array): HtbOptions | undefined {
  const { qdisc } = htbAttrs.decode(new Reader(options, 'htb'))
  return qdisc && { defaultClass: qdisc.defaultClass }
}

export function htbClassToWire(spec: TrafficClassSpec): Uint8Array {
  const rate = bytesPerSec(spec.rateBitsPerSec)
  const ceil = bytesPerSec(spec.ceilBitsPerSec ?? spec.rateBitsPerSec)
  const { priority = 0 } = spec
  return encoded(htbAttrs, {
    class: {
      rate: rateToWire(rate),
      ceil: rateToWire(ceil),
      bufferTicks: ticksOf(spec.burstBytes ?? defaultBurst(rate), rate),
      ceilBufferTicks: ticksOf(spec.ceilBurstBytes ?? defaultBurst(ceil), ceil),
      quantumBytes: spec.quantumBytes ?? defaultQuantum(rate),
      level: 0,
      priority,
    },
    rate64: rate > U32_MAX ? BigInt(rate) : undefined,
    ceil64: ceil > U32_MAX ? BigInt(ceil) : undefined,
  })
}

export function htbClassFrom(options: Uint8Array): HtbClassOptions | undefined {
  const { class: wire, rate64, ceil64 } = htbAttrs.decode(new Reader(options, 'htb'))
  if (wire === undefined) return undefined
  const rate = Number(rate64 ?? wire.rate.rate)
  const ceil = Number(ceil64 ?? wire.ceil.rate)
  return compact({
    rateBitsPerSec: rate * 8,
    ceilBitsPerSec: ceil * 8,
    burstBytes: bytesOf(wire.bufferTicks, rate),
    ceilBurstBytes: bytesOf(wire.ceilBufferTicks, ceil),
    priority: wire.priority,
    // An inner class has none.
    quantumBytes: wire.quantumBytes === 0 ? undefined : wire.quantumBytes,
  })
}

function bytesPerSec(bitsPerSec: number): number {
  const bytes = Math.floor(bitsPerSec / 8)
  if (!Number.isSafeInteger(bytes) || bytes < 1) {
    throw new RangeError(`${bitsPerSec} bits per second is not a rate of 8 or more`)
  }
  return bytes
}

function rateToWire(rate: number): RateSpec {
  return {
    cellLog: 0,
    linkLayer: TC_LINKLAYER_ETHERNET,
    overhead: 0,
    cellAlign: 0,
    mpu: 0,
    rate: Math.min(rate, U32_MAX),
  }
}

/** What a millisecond brings, and one frame. */
function defaultBurst(rate: number): number {
  return Math.round(rate / 1000) + ETHERNET_FRAME_BYTES
}

function defaultQuantum(rate: number): number {
  const share = Math.round(rate / HTB_RATE2QUANTUM)
  return Math.min(Math.max(share, MIN_QUANTUM_BYTES), MAX_QUANTUM_BYTES)
}

function ticksOf(bytes: number, rate: number): number {
  return Math.min(Math.round((bytes * 1e9) / rate / NS_PER_TICK), U32_MAX)
}

function bytesOf(ticks: number, rate: number): number {
  return Math.round((ticks * NS_PER_TICK * rate) / 1e9)
}

function encoded<T>(codec: Codec<T>, value: T): Uint8Array {
  const writer = new Writer(128)
  codec.encode(writer, value)
  return writer.toBytes()
}
