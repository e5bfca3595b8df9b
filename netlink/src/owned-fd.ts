// A file descriptor with one owner: closed once, and if the owner forgets, closed by the garbage collector with a warning.
import { EBADF, NetlinkError } from './error.ts'
import { native } from './native.ts'

interface Held {
  fd: number
  readonly what: string
}

const forgotten = new FinalizationRegistry<Held>((held) => {
  if (held.fd < 0) return
  process.emitWarning(`${held.what} was never closed`, 'NetlinkLeak')
  native().close(held.fd)
})

export class OwnedFd {
  readonly #held: Held

  constructor(fd: number, what: string) {
    this.#held = { fd, what }
    forgotten.register(this, this.#held, this)
  }

  /** @throws NetlinkError EBADF after `close()`: the number may belong to someone else by now. */
  get fd(): number {
    const { fd, what } = this.#held
    if (fd < 0) throw new NetlinkError({ op: 'use', subject: `closed ${what}`, errno: EBADF })
    return fd
  }

  get isClosed(): boolean {
    return this.#held.fd < 0
  }

  close(): void {
    const { fd } = this.#held
    if (fd < 0) return
    this.#held.fd = -1
    forgotten.unregister(this)
    native().close(fd)
  }
}
