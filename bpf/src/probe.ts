// What this kernel has, found by trying: each answers in well under a millisecond and leaves nothing behind.
import { constants } from 'node:os'
import { netkitTypes } from './attach-type.ts'
import { queryAttached } from './attached.ts'
import { BpfError, check } from './error.ts'
import { type ProgramType, programTypeNumber } from './kernel-info.ts'
import { BpfMap } from './map.ts'
import { native } from './native.ts'
import { struct, u8, u16, u32 } from './struct.ts'

/** Numbers of `enum bpf_func_id`. */
export const helpers = {
  fib_lookup: 69,
  sk_lookup_udp: 85,
  skc_lookup_tcp: 99,
  jiffies64: 118,
  redirect_neigh: 152,
  redirect_peer: 155,
  for_each_map_elem: 164,
  loop: 181,
} as const
export type Helper = keyof typeof helpers

/** Whether programs of this type may call the helper. */
export function probeHelper(type: Exclude<ProgramType, 'unknown'>, helper: Helper): boolean {
  const result = native().helperProbe(programTypeNumber(type), helpers[helper])
  return check(result, `probe bpf_${helper}`) === 1
}

/** @throws BpfError EPERM where this process may load no program */
export function probeLoading(): void {
  native().close(load([move(0, 0), EXIT]))
}

/** Whether there are netkit devices: asked of the loopback device, which every namespace has and which is none. */
export function probeNetkit(): boolean {
  try {
    queryAttached({ op: 'probe netkit', target: 1, attachType: netkitTypes.egress })
    return true
  } catch (error) {
    if (!(error instanceof BpfError)) throw error
    if (error.code === 'ENXIO') return true
    if (error.code === 'EINVAL') return false
    throw error
  }
}

export function probeBatch(): boolean {
  const spec = { keySize: 4, valueSize: 4, maxEntries: 1, name: 'sb_probe' }
  using map = BpfMap.create({ type: 'hash', ...spec })
  const one = new Uint8Array(4)
  one[0] = 1
  return native().mapUpdateBatch(map.fd, one, one, one, 0) === 0
}

export function probeRingBuffer(): boolean {
  try {
    BpfMap.create({
      type: 'ringbuf',
      keySize: 0,
      valueSize: 0,
      maxEntries: RING_BYTES,
      name: 'sb_probe',
    }).close()
    return true
  } catch (error) {
    if (error instanceof BpfError && error.code === 'EINVAL') return false
    throw error
  }
}
/** A power of two and of the page size, whatever that is. */
const RING_BYTES = 65_536

/** `BPF_FIB_LOOKUP_SRC` (Linux 6.7): the kernel looks at flags before it looks for the device, and there is no device 0. */
export function probeFibSource(): boolean {
  const AF_INET = 2
  const result = run([
    ...zeroes(FIB_BYTES),
    storeByte(-FIB_BYTES, AF_INET),
    ...stackPointer(2, -FIB_BYTES),
    move(3, FIB_BYTES),
    move(4, FIB_LOOKUP_SRC),
    call(helpers.fib_lookup),
    EXIT,
  ])
  return result === -constants.errno.ENODEV
}
/** sizeof(struct bpf_fib_lookup). */
const FIB_BYTES = 64
const FIB_LOOKUP_SRC = 1 << 4

/**
 * `BPF_F_IPV6` of bpf_l4_csum_replace (Linux 6.16): the kernel looks at flags before it looks at the packet, where no checksum is to be
 * found so far behind its end.
 */
export function probeChecksumIpv6(): boolean {
  const result = run([
    move(2, FAR_BEHIND),
    move(3, 0),
    move(4, 0),
    move(5, CSUM_IPV6),
    call(L4_CSUM_REPLACE),
    EXIT,
  ])
  return result === -constants.errno.EFAULT
}
const FAR_BEHIND = 0x7000
const CSUM_IPV6 = 1 << 7
const L4_CSUM_REPLACE = 11

/** Whether a tunnel key holds its outer source address: `local_ipv4` (Linux 6.0) makes it longer. */
export function probeTunnelLocal(): boolean {
  const result = run([
    ...zeroes(TUNNEL_KEY_ROOM),
    ...stackPointer(2, -TUNNEL_KEY_ROOM),
    move(3, TUNNEL_KEY_BYTES),
    move(4, 0),
    call(SKB_SET_TUNNEL_KEY),
    EXIT,
  ])
  return result === 0
}
/** sizeof(struct bpf_tunnel_key), and the same in whole words. */
const TUNNEL_KEY_BYTES = 44
const TUNNEL_KEY_ROOM = 48
const SKB_SET_TUNNEL_KEY = 21

/** `struct bpf_insn`: opcode, the two registers, offset, constant. */
const instruction = struct('bpf_insn', { code: u8, registers: u8, offset: u16, constant: u32 })
type Instruction = ReturnType<typeof instruction.decode>

function op(code: number, registers: number, offset: number, constant: number): Instruction {
  return { code, registers, offset: offset & 0xffff, constant: constant >>> 0 }
}

function move(register: number, value: number): Instruction {
  return op(0xb7, register, 0, value)
}

function call(helper: number): Instruction {
  return op(0x85, 0, 0, helper)
}

function storeByte(at: number, value: number): Instruction {
  return op(0x72, 10, at, value)
}

const EXIT = op(0x95, 0, 0, 0)

/** Clears the lowest so many bytes of the stack. */
function zeroes(bytes: number): Instruction[] {
  return Array.from({ length: bytes / 8 }, (_, word) => op(0x7a, 10, -bytes + word * 8, 0))
}

function stackPointer(register: number, at: number): Instruction[] {
  return [op(0xbf, register | (10 << 4), 0, 0), op(0x07, register, 0, at)]
}

function load(instructions: readonly Instruction[]): number {
  const code = new Uint8Array(instructions.length * instruction.size)
  for (const [at, one] of instructions.entries()) {
    code.set(instruction.encode(one), at * instruction.size)
  }
  return check(native().programLoad(programTypeNumber('sched_cls'), code), 'BPF_PROG_LOAD')
}

const testRun = struct('test_run_result', { value: u32, timeNs: u32, dataSize: u32, ctxSize: u32 })
/** The shortest frame that a test run takes. */
const EMPTY_PACKET = 14

/** What the instructions return for an empty packet, as a signed number. */
function run(instructions: readonly Instruction[]): number {
  const fd = load(instructions)
  try {
    const result = new Uint8Array(testRun.size)
    const packet = new Uint8Array(EMPTY_PACKET)
    check(
      native().programTestRun(fd, packet, null, null, null, 1, 0, -1, result),
      'BPF_PROG_TEST_RUN',
    )
    return testRun.decode(result).value | 0
  } finally {
    native().close(fd)
  }
}
