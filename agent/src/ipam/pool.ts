// Which address of a range comes next: first those never used, in order, then the one given back longest ago (ADR 0033). In memory only.
import { addressAt, canAsk, canGive, capacityOf, offsetOf, type Range } from './range.ts'

export class Pool {
  readonly range: Range
  readonly #taken = new Set<string>()
  /** Oldest first: a Set keeps the order of insertion. */
  readonly #released = new Set<string>()
  /** Everything below is in use or was given back. */
  #cursor: number

  /** `taken` and `released` may name addresses of other ranges. */
  constructor(range: Range, taken: Iterable<string>, released: Iterable<string>) {
    this.range = range
    this.#cursor = range.firstOffset
    for (const address of taken) if (canAsk(range, address)) this.#taken.add(address)
    for (const address of released) {
      if (!this.#taken.has(address) && covers(range, address)) this.#released.add(address)
    }
  }

  get capacity(): number {
    return capacityOf(this.range)
  }

  get used(): number {
    return this.#taken.size
  }

  /** Undefined when every address is in use. */
  take(): string | undefined {
    const address = this.#neverUsed() ?? first(this.#released)
    if (address === undefined) return undefined
    this.#released.delete(address)
    this.#taken.add(address)
    return address
  }

  isTaken(address: string): boolean {
    return this.#taken.has(address)
  }

  /** One that was asked for: `canAsk` of the range, and not taken. */
  takeAsked(address: string): void {
    this.#released.delete(address)
    this.#taken.add(address)
  }

  /** It goes to the end of the line; one past those that are given unasked has no place in it. */
  release(address: string): void {
    if (this.#taken.delete(address) && canGive(this.range, address)) this.#released.add(address)
  }

  /** For an allocation that came to nothing: it is the next to be given. */
  putBack(address: string): void {
    if (!this.#taken.delete(address) || !canGive(this.range, address)) return
    this.#cursor = Math.min(this.#cursor, offsetOf(this.range, address) ?? this.#cursor)
  }

  #neverUsed(): string | undefined {
    for (; this.#cursor <= this.range.lastOffset; this.#cursor++) {
      const address = addressAt(this.range, this.#cursor)
      if (!this.#taken.has(address) && !this.#released.has(address)) return address
    }
    return undefined
  }
}

/** The journal may hold a torn line, which is no address at all. */
function covers(range: Range, address: string): boolean {
  try {
    return canGive(range, address)
  } catch {
    return false
  }
}

function first(set: ReadonlySet<string>): string | undefined {
  for (const one of set) return one
  return undefined
}
