// Verbs of one attachment run one after the other, those of different ones at once; a DEL cancels the ADD in front of it.

export type TurnKind = 'add' | 'del' | 'check'

interface Turn {
  readonly kind: TurnKind
  readonly abort: AbortController
  readonly done: Promise<unknown>
}

export class CancelledError extends Error {
  readonly code = 'aborted'
}

export class Turns {
  readonly #queues = new Map<string, Turn[]>()

  /** How many verbs run or wait. */
  get size(): number {
    let size = 0
    for (const queue of this.#queues.values()) size += queue.length
    return size
  }

  /** Whether an ADD of the key runs or waits. */
  isAdding(key: string): boolean {
    return this.#queues.get(key)?.some(({ kind }) => kind === 'add') === true
  }

  /**
   * Waits for its turn and runs. The signal given to `run` is aborted when `signal` is (the caller went away) or when a DEL
   * of the same key comes in behind an ADD. A turn cancelled before its time never runs.
   */
  take<T>(
    key: string,
    kind: TurnKind,
    signal: AbortSignal,
    run: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const queue = this.#queues.get(key) ?? []
    this.#queues.set(key, queue)
    if (kind === 'del') {
      for (const turn of queue) {
        if (turn.kind === 'add')
          turn.abort.abort(new CancelledError('a DEL of the same attachment came'))
      }
    }
    const before = Promise.allSettled(queue.map((turn) => turn.done))
    const abort = new AbortController()
    const either = AbortSignal.any([signal, abort.signal])
    const done = before.then(() => {
      either.throwIfAborted()
      return run(either)
    })
    const turn = { kind, abort, done }
    queue.push(turn)
    return done.finally(() => {
      queue.splice(queue.indexOf(turn), 1)
      if (queue.length === 0) this.#queues.delete(key)
    })
  }
}
