// The sweep of the flow table: passes of a program that removes expired rows inside the kernel and counts the rest.
import { BpfIterator, type BpfMap, type BpfProgram } from '@sinabro/libbpf-ts'
import { type Sweep, sweep } from '@sinabro/libbpf-ts/layouts'
import type { Clock } from '../runtime/clock.ts'
import type { Jobs } from '../runtime/jobs.ts'

const INTERVAL_MS = 30_000
/** While the table is all but full. */
const PRESSED_INTERVAL_MS = 5_000
/** Between passes that somebody asks for, at least; and so many times as long as the last one took: a tenth of a CPU at most. */
const REST_MS = 1_000
const REST = 9

export interface SweepResult {
  /** That were there; a flow has two. */
  readonly rows: number
  /** Of them. */
  readonly removed: number
  /** Kept rows of flows that our programs translate. */
  readonly translated: number
  /** Kept rows of TCP connections that have ended. */
  readonly closed: number
  /** The table was all but full when it began. */
  readonly isPressed: boolean
  /** When it ended, milliseconds since 1970. */
  readonly at: number
  /** The same moment as flow rows count time, and their unit: see `ticksToSec`. */
  readonly nowTicks: number
  readonly hz: number
}

export class Sweeper {
  readonly #program: BpfProgram
  readonly #flows: BpfMap
  readonly #clock: Clock
  #last: SweepResult | undefined
  #underWay: Promise<SweepResult> | undefined
  /** Aborted when there is something to find that the latest pass may not have met. */
  #wake = new AbortController()

  constructor(program: BpfProgram, flows: BpfMap, clock: Clock) {
    this.#program = program
    this.#flows = flows
    this.#clock = clock
  }

  get last(): SweepResult | undefined {
    return this.#last
  }

  start(jobs: Jobs): void {
    jobs.start('sweep', (signal, alive) => this.#run(signal, alive))
  }

  /** What datagrams were sent to is gone: the rows of their flows are not to wait for the interval. */
  sweepSoon(): void {
    this.#wake.abort()
  }

  async #run(signal: AbortSignal, alive: () => void): Promise<void> {
    const clock = this.#clock
    while (!signal.aborted) {
      const startedAt = clock.monotonicMs()
      const { isPressed } = await this.sweep()
      alive()
      const intervalMs = isPressed ? PRESSED_INTERVAL_MS : INTERVAL_MS
      const tookMs = clock.monotonicMs() - startedAt
      const restMs = Math.min(Math.max(REST_MS, REST * tookMs), intervalMs)
      await clock.sleep(restMs, signal)
      const until = AbortSignal.any([signal, this.#wake.signal])
      await clock.sleep(intervalMs - restMs, until).catch(() => undefined)
    }
  }

  /** A pass is under way at most once: whoever asks meanwhile gets that one's result. */
  sweep(): Promise<SweepResult> {
    this.#underWay ??= this.#pass().finally(() => {
      this.#underWay = undefined
    })
    return this.#underWay
  }

  async #pass(): Promise<SweepResult> {
    // Whoever asks from now on means rows that this one may have passed.
    if (this.#wake.signal.aborted) this.#wake = new AbortController()
    using iterator = BpfIterator.open({ program: this.#program, map: this.#flows })
    let last: Sweep | undefined
    // One record at a time: the kernel ends a read, and lets others have the CPU, when that is full.
    for await (const records of iterator.records(sweep, sweep.size)) last = records.at(-1)
    if (last?.isDone !== 1)
      throw new Error('a pass over the flow table was overtaken by another one')
    const { rows, removed, translated, closed, isPressed, now: nowTicks, hz } = last
    const at = this.#clock.now()
    this.#last = { rows, removed, translated, closed, isPressed: isPressed !== 0, at, nowTicks, hz }
    return this.#last
  }
}
