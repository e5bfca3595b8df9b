// One turn of the event loop, for work that never waits: what others have done meanwhile is heard of, and goes on.
import { setImmediate } from 'node:timers/promises'

export function nextTurn(): Promise<void> {
  return setImmediate()
}
