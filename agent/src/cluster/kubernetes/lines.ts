// Chunks of a stream to whole lines: a chunk may end anywhere, in the middle of a character too; a line that never ends is refused.

const NEWLINE = 0x0a

export class LineTooLongError extends Error {
  override readonly name = 'LineTooLongError'
  readonly code = 'too-large'
}

export class LineSplitter {
  readonly #mostBytes: number
  #parts: Uint8Array[] = []
  #size = 0

  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes
  }

  /** The lines that this chunk completes, without their ends; empty ones are left out. @throws LineTooLongError */
  push(chunk: Uint8Array): string[] {
    const lines: string[] = []
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      this.#add(chunk.subarray(start, end))
      if (this.#size > 0) lines.push(Buffer.concat(this.#parts, this.#size).toString('utf8'))
      this.#parts = []
      this.#size = 0
      start = end + 1
    }
    this.#add(chunk.subarray(start))
    return lines
  }

  /** Bytes of a line that has no end yet. */
  get pending(): number {
    return this.#size
  }

  #add(part: Uint8Array): void {
    if (part.length === 0) return
    this.#size += part.length
    if (this.#size > this.#mostBytes) {
      throw new LineTooLongError(`a line is longer than ${this.#mostBytes} bytes`)
    }
    this.#parts.push(part)
  }
}
