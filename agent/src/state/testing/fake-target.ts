// A target in memory for stories: records the calls, refuses or holds those it is told to.
import type { Target } from '../target.ts'

export interface Thing {
  readonly name: string
  readonly size: number
  /** Only one thing at a time can have it. */
  readonly slot?: number
}

export class FakeTarget implements Target<Thing, Thing> {
  readonly name = 'fake'
  readonly things = new Map<string, Thing>()
  readonly calls: string[] = []
  readonly #refused = new Set<string>()
  readonly #held = new Map<string, { reached: () => void; released: Promise<void> }>()

  constructor(things: readonly Thing[] = []) {
    for (const thing of things) this.things.set(thing.name, thing)
  }

  /** `update a`, `remove a` or `list`. */
  refuse(call: string): void {
    this.#refused.add(call)
  }

  allow(call: string): void {
    this.#refused.delete(call)
  }

  /** Stops the next such call in its middle until released. */
  hold(call: string): { readonly reached: Promise<void>; release(): void } {
    const reached = Promise.withResolvers<void>()
    const released = Promise.withResolvers<void>()
    this.#held.set(call, { reached: reached.resolve, released: released.promise })
    return { reached: reached.promise, release: released.resolve }
  }

  key(thing: Thing): string {
    return thing.name
  }

  keyOf(thing: Thing): string {
    return thing.name
  }

  isEqual(row: Thing, actual: Thing): boolean {
    return row.size === actual.size && row.slot === actual.slot
  }

  claim({ slot }: Thing): string | undefined {
    return slot?.toString()
  }

  claimOf({ slot }: Thing): string | undefined {
    return slot?.toString()
  }

  async list(signal: AbortSignal): Promise<readonly Thing[]> {
    await this.#enter('list', 'list', signal)
    return [...this.things.values()]
  }

  async find(key: string, signal: AbortSignal): Promise<Thing | undefined> {
    await this.#enter(`find ${key}`, `find ${key}`, signal)
    return this.things.get(key)
  }

  async update(row: Thing, signal: AbortSignal): Promise<void> {
    await this.#enter(`update ${row.name}`, `update ${row.name} ${row.size}`, signal)
    for (const other of this.things.values()) {
      if (row.slot !== undefined && other.slot === row.slot && other.name !== row.name) {
        throw new Error(`slot ${row.slot} is taken by ${other.name}`)
      }
    }
    this.things.set(row.name, row)
  }

  async remove(actual: Thing, signal: AbortSignal): Promise<void> {
    await this.#enter(`remove ${actual.name}`, `remove ${actual.name}`, signal)
    this.things.delete(actual.name)
  }

  async #enter(call: string, text: string, signal: AbortSignal): Promise<void> {
    this.calls.push(text)
    const held = this.#held.get(call)
    this.#held.delete(call)
    held?.reached()
    await held?.released
    signal.throwIfAborted()
    if (this.#refused.has(call)) throw new Error(`${call} refused`)
  }
}
