// A BPF iterator: a program that the kernel runs on every entry of a map, or on every object of a kind, while we read.
import { read } from 'node:fs'
import { promisify } from 'node:util'
import { Descriptor } from './descriptor.ts'
import { BpfError, check } from './error.ts'
import { BpfLink } from './link.ts'
import type { BpfMap } from './map.ts'
import { native } from './native.ts'
import type { BpfProgram } from './program.ts'
import type { Codec } from './struct.ts'

const readAsync = promisify(read)

/** Twice what the kernel gathers before it hands over: `PAGE_SIZE << 3`. */
const READ_BYTES = 65536

export class BpfIterator {
  readonly #link: BpfLink
  readonly #name: string

  private constructor(link: BpfLink, name: string) {
    this.#link = link
    this.#name = name
  }

  /**
   * `program` is of SEC("iter/…"); SEC("iter/bpf_map_elem") needs `map`.
   * @throws BpfError EINVAL for a program that is none, EBADF for one that needs a map and has none
   */
  static open(options: { readonly program: BpfProgram; readonly map?: BpfMap }): BpfIterator {
    return new BpfIterator(BpfLink.createIterator(options), options.program.name)
  }

  /** What is pinned there makes a file: reading it is one pass. Undefined if nothing is pinned. */
  static openPinned(path: string): BpfIterator | undefined {
    const link = BpfLink.openPinned(path)
    return link === undefined ? undefined : new BpfIterator(link, path)
  }

  /**
   * One pass: what the program wrote, in parts. Each part is read on the thread pool, so however long the program takes,
   * the event loop goes on. (A CPU of a kernel without preemption does nothing else until a part is full: 1,000,000
   * entries passed over are 0.2 s.) A part may end within a record. The kernel ends a part once `readBytes` have been written.
   */
  async *chunks(readBytes = READ_BYTES): AsyncGenerator<Uint8Array, void, undefined> {
    const fd = check(native().iteratorOpen(this.#link.fd), `BPF_ITER_CREATE ${this.#name}`)
    const pass = new Descriptor(fd, `pass of iterator ${this.#name}`)
    try {
      for (;;) {
        const room = new Uint8Array(readBytes)
        const bytes = await readSome(fd, room, this.#name)
        if (bytes === 0) return
        yield room.subarray(0, bytes)
      }
    } finally {
      pass.close()
    }
  }

  /** One pass of a program that writes one record of this codec after the other; all records of a part at once. */
  async *records<T>(codec: Codec<T>, readBytes = READ_BYTES): AsyncGenerator<T[], void, undefined> {
    let rest = new Uint8Array()
    for await (const chunk of this.chunks(readBytes)) {
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      const count = Math.floor(bytes.length / codec.size)
      yield Array.from({ length: count }, (_, i) =>
        codec.decode(bytes.subarray(i * codec.size, (i + 1) * codec.size)),
      )
      rest = bytes.slice(count * codec.size)
    }
    if (rest.length > 0) {
      throw new BpfError(`read iterator ${this.#name}`, {
        code: 'layout',
        detail: `${rest.length} bytes left, records are of ${codec.size}`,
      })
    }
  }

  /** From here on any process can read a pass with `cat`. */
  pin(path: string): void {
    this.#link.pin(path)
  }

  /** A pass under way goes on to its end. */
  close(): void {
    this.#link.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

async function readSome(fd: number, room: Uint8Array, name: string): Promise<number> {
  for (;;) {
    try {
      return (await readAsync(fd, room, 0, room.length, null)).bytesRead
    } catch (error) {
      const { errno = 0, code } = error as NodeJS.ErrnoException
      // The program wrote nothing about a million objects: the kernel lets others run, and goes on at the next call.
      if (code !== 'EAGAIN') throw new BpfError(`read iterator ${name}`, { errno: -errno })
    }
  }
}
