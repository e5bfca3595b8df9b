// One loaded program by its descriptor: what it is, running it without a device, pins.
import { constants } from 'node:os'
import { Descriptor } from './descriptor.ts'
import { BpfError, check } from './error.ts'
import { bpfProgInfo, infoOf, type ProgramType, programTypeName } from './kernel-info.ts'
import { native } from './native.ts'
import { pinAt } from './pin.ts'
import type { RunStatistics } from './run-statistics.ts'
import { struct, u32 } from './struct.ts'
import type { Namespace } from './tcx.ts'

export interface TestRunOptions {
  /** The packet, from its Ethernet header on. */
  readonly data?: Uint8Array
  /** `struct __sk_buff` or what the program's type takes. */
  readonly ctx?: Uint8Array
  /** Room for the context afterwards; default: the size of `ctx`, so none without it. */
  readonly ctxOutBytes?: number
  /** Runs this often; the packet is not restored in between. */
  readonly repeat?: number
  /** Whose devices, routes and sockets the program sees; default: this process's. */
  readonly netns?: Namespace | undefined
  /** As if the device had summed the packet (CHECKSUM_COMPLETE): EBADMSG if its sum is not right afterwards. Linux 6.17. */
  readonly isSummed?: boolean
}

/** BPF_F_TEST_SKB_CHECKSUM_COMPLETE. */
const TEST_SUMMED = 1 << 2

export interface TestRunResult {
  /** Signed, as TC_ACT_UNSPEC (-1) is. */
  readonly retval: number
  readonly data: Uint8Array
  readonly ctx: Uint8Array
  /** Average of one run. */
  readonly durationNs: number
}

const result = struct('test_run_result', {
  retval: u32,
  durationNs: u32,
  dataSize: u32,
  ctxSize: u32,
})

/** What a program may add to a packet in one run: more than any tunnel header. */
const HEADROOM_BYTES = 512

export class BpfProgram {
  readonly name: string
  readonly id: number
  readonly type: ProgramType
  /** How many instructions the verifier walked through. */
  readonly verifiedInstructions: number
  /** 0 without a JIT. */
  readonly jitedBytes: number
  readonly #descriptor: Descriptor

  /** Takes over `fd`. `name` in full: the kernel keeps 15 characters of it. */
  constructor(fd: number, name?: string) {
    const info = infoOf(fd, bpfProgInfo)
    this.name = name ?? info.name
    this.id = info.id
    this.type = programTypeName(info.type)
    this.verifiedInstructions = info.verifiedInsns
    this.jitedBytes = info.jitedProgLen
    this.#descriptor = new Descriptor(fd, `program ${this.name}`)
  }

  /** @throws BpfError ENOENT if nothing is pinned there */
  static openPinned(path: string): BpfProgram {
    return new BpfProgram(check(native().getPinned(path), `BPF_OBJ_GET ${path}`))
  }

  get fd(): number {
    return this.#descriptor.fd
  }

  /** Runs with a packet and a context, and waits for it. Redirects are not carried out. */
  testRun(options: TestRunOptions = {}): TestRunResult {
    const { data, ctx, repeat = 0 } = options
    const netns = options.netns?.fd ?? -1
    const dataOut = data === undefined ? null : new Uint8Array(data.length + HEADROOM_BYTES)
    const ctxOutBytes = options.ctxOutBytes ?? (this.type === 'syscall' ? 0 : (ctx?.length ?? 0))
    const ctxOut = ctxOutBytes > 0 ? new Uint8Array(ctxOutBytes) : null
    // A syscall program's context is written back in place.
    const ctxIn = ctx?.slice() ?? null
    const out = new Uint8Array(result.size)
    const flags = options.isSummed === true ? TEST_SUMMED : 0
    const run = () =>
      native().programTestRun(
        ...([this.fd, data ?? null, dataOut, ctxIn, ctxOut] as const),
        ...([repeat, flags, netns, out] as const),
      )
    let status = run()
    // A signal to this thread ends a long run early; it did nothing that the next does not do again.
    while (status === -constants.errno.EINTR) status = run()
    check(status, `BPF_PROG_TEST_RUN ${this.name}`)
    const { retval, durationNs, dataSize, ctxSize } = result.decode(out)
    return {
      retval: retval | 0,
      data: dataOut?.subarray(0, dataSize) ?? new Uint8Array(),
      ctx:
        this.type === 'syscall'
          ? (ctxIn ?? new Uint8Array())
          : (ctxOut?.subarray(0, ctxSize) ?? new Uint8Array()),
      durationNs,
    }
  }

  /** Runs a `SEC("syscall")` program on the thread pool, for what may take long; `ctx` comes back as it left it. */
  async run(ctx: Uint8Array = new Uint8Array()): Promise<{ retval: number; ctx: Uint8Array }> {
    const own = ctx.slice()
    const status = await native().programRun(this.fd, own.length === 0 ? null : own)
    if (status < 0) throw new BpfError(`BPF_PROG_TEST_RUN ${this.name}`, { errno: -status })
    return { retval: status | 0, ctx: own }
  }

  /** What its runs have cost so far; all zero unless someone is measuring: see RunMeasuring. */
  runStatistics(): RunStatistics {
    const { runCnt, runTimeNs, recursionMisses } = infoOf(this.fd, bpfProgInfo)
    return { runCount: runCnt, runTimeNs, recursionMisses }
  }

  pin(path: string): void {
    pinAt(this.fd, path)
  }

  close(): void {
    this.#descriptor.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
