// A socket for tests of the request logic: the answers are written down, what was sent is kept.
import { EAGAIN } from '../src/error.ts'
import { NetlinkError } from '../src/index.ts'
import type { Transport } from '../src/socket.ts'

/** One datagram given the sequence number of the last request, or a result such as -EAGAIN. */
export type Answer = ((sequence: number) => Uint8Array) | number

export class ScriptedTransport implements Transport {
  readonly sent: Uint8Array[] = []
  isClosed = false
  /** Those that `another()` made and nobody closed yet. */
  readonly others = { open: 0 }
  readonly #answers: Answer[] = []
  #waiting: { resolve: () => void; reject: (error: Error) => void } | undefined

  /** What `receive()` will give, in order; afterwards it gives -EAGAIN. Wakes who waits. */
  answer(...answers: readonly Answer[]): void {
    this.#answers.push(...answers)
    this.#waiting?.resolve()
    this.#waiting = undefined
  }

  send(message: Uint8Array, length: number): void {
    this.sent.push(message.slice(0, length))
  }

  receive(into: Uint8Array): number {
    const answer = this.#answers.shift()
    if (answer === undefined) return -EAGAIN
    if (typeof answer === 'number') return answer
    const datagram = answer(this.#sequence())
    into.set(datagram.subarray(0, into.length))
    return datagram.length
  }

  readable(signal?: AbortSignal): Promise<void> {
    if (this.#answers.length > 0) return Promise.resolve()
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
      this.#waiting = { resolve, reject }
    })
  }

  /** One that has the answers of this one, and whose requests are kept here. */
  another(): Transport {
    const other = {
      send: (message: Uint8Array, length: number) => this.send(message, length),
      receive: (into: Uint8Array) => this.receive(into),
      readable: (signal?: AbortSignal) => this.readable(signal),
      another: () => this.another(),
      isClosed: false,
      close: () => {
        other.isClosed = true
        this.others.open--
      },
    }
    this.others.open++
    return other
  }

  close(): void {
    this.isClosed = true
    this.#waiting?.reject(new NetlinkError({ op: 'receive', errno: 9 }))
  }

  #sequence(): number {
    const last = this.sent.at(-1)
    return last === undefined ? 0 : new DataView(last.buffer).getUint32(8, true)
  }
}
