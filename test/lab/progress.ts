// Says what is going on while something takes longer than a second, and nothing when it does not.
import { performance } from 'node:perf_hooks'

const SILENT_MS = 1_000
const TERMINAL_STEP_MS = 200
const LOG_STEP_MS = 5_000

export interface ProgressOutput {
  readonly isTTY?: boolean | undefined
  write(text: string): unknown
}

/** Runs `work`; shows `what`, the seconds so far and what `detail` says. On a terminal one line that is wiped at the end. */
export async function withProgress<T>(
  what: string,
  work: Promise<T>,
  detail: () => string = () => '',
  output: ProgressOutput = process.stderr,
): Promise<T> {
  const isTerminal = output.isTTY === true
  const start = performance.now()
  let wasShown = false
  const show = (): void => {
    const elapsedMs = performance.now() - start
    if (elapsedMs < SILENT_MS) return
    wasShown = true
    const line = `  … ${what} ${Math.round(elapsedMs / 1000)} s ${detail()}`.trimEnd()
    output.write(isTerminal ? `\r\x1b[K${line}` : `${line}\n`)
  }
  const timer = setInterval(show, isTerminal ? TERMINAL_STEP_MS : LOG_STEP_MS)
  try {
    return await work
  } finally {
    clearInterval(timer)
    if (wasShown && isTerminal) output.write('\r\x1b[K')
  }
}
