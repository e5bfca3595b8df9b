// Until a source has its first complete list, or somebody gives up.
import type { Source } from '../state/table.ts'

/** @throws the signal's reason */
export function whenReady(source: Source, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      if (signal.aborted) reject(signal.reason)
      else if (source.isReady) resolve()
      else return
      end()
      signal.removeEventListener('abort', look)
    }
    const end = source.subscribe(look)
    signal.addEventListener('abort', look, { once: true })
    look()
  })
}

export function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
