// Measuring what programs cost in their places: off unless someone asks, because each run then reads the clock twice.
import { Descriptor } from './descriptor.ts'
import { check } from './error.ts'
import { native } from './native.ts'

/** `BPF_STATS_RUN_TIME`. */
const RUN_TIME = 0

/** Of one program since it was loaded, counting only while measuring was on. */
export interface RunStatistics {
  readonly runCount: bigint
  readonly runTimeNs: bigint
  /** Runs that did not happen because the program was running on that CPU already; counted always. */
  readonly recursionMisses: bigint
}

/** While one is open, anywhere on the machine, the kernel measures every program. */
export class RunMeasuring {
  readonly #descriptor: Descriptor

  private constructor(fd: number) {
    this.#descriptor = new Descriptor(fd, 'run statistics')
  }

  /** @throws BpfError EPERM without CAP_SYS_ADMIN */
  static start(): RunMeasuring {
    return new RunMeasuring(check(native().statsEnable(RUN_TIME), 'BPF_ENABLE_STATS'))
  }

  close(): void {
    this.#descriptor.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
