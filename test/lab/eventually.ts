// Waits for a condition that nothing announces (a kernel clean-up, a process of somebody else), with a deadline.
import { setTimeout as sleep } from 'node:timers/promises'
import { LabError } from './errors.ts'

export const DEFAULT_DEADLINE_MS = 20_000
/** SINABRO_SLOWNESS: where the machine is emulated, everything may take so many times as long. */
const SLOWNESS = Number(process.env.SINABRO_SLOWNESS ?? 1)
const STEP_MS = 5
const LONGEST_STEP_MS = 100

/** Asks until the answer is something other than false or undefined. */
export async function eventually<T>(
  what: string,
  ask: () => T | false | undefined | Promise<T | false | undefined>,
  deadlineMs = DEFAULT_DEADLINE_MS,
): Promise<T> {
  const end = performance.now() + deadlineMs * SLOWNESS
  for (let stepMs = STEP_MS; ; stepMs = Math.min(stepMs * 2, LONGEST_STEP_MS)) {
    const answer = await ask()
    if (answer !== false && answer !== undefined) return answer
    if (performance.now() > end) {
      throw new LabError('timeout', `waited ${(deadlineMs * SLOWNESS) / 1000} s for ${what}`)
    }
    await sleep(stepMs)
  }
}
