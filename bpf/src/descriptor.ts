// One owner per file descriptor: close() is safe twice, and a descriptor nobody closed is closed and complained about.
import { BpfError } from './error.ts'
import { native } from './native.ts'

interface Held {
  readonly fd: number
  readonly what: string
}

const forgotten = new FinalizationRegistry<Held>(({ fd, what }) => {
  native().close(fd)
  process.emitWarning(`${what} was never closed (fd ${fd})`, { code: 'SINABRO_BPF_NOT_CLOSED' })
})

export class Descriptor {
  readonly what: string
  #fd: number

  /** Takes over `fd`: from here on nobody else closes it. `what` names it in complaints. */
  constructor(fd: number, what: string) {
    this.#fd = fd
    this.what = what
    forgotten.register(this, { fd, what }, this)
  }

  /** @throws BpfError EBADF once closed */
  get fd(): number {
    if (this.#fd < 0) throw new BpfError(this.what, { code: 'EBADF', detail: 'already closed' })
    return this.#fd
  }

  get isClosed(): boolean {
    return this.#fd < 0
  }

  close(): void {
    if (this.#fd < 0) return
    forgotten.unregister(this)
    native().close(this.#fd)
    this.#fd = -1
  }
}
