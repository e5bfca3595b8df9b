// A source without rows: ready from the moment somebody opens it. Nothing is made, and nothing pruned, before that.
import type { Source } from '../state/table.ts'

export class Gate implements Source {
  readonly name: string
  readonly #listeners = new Set<() => void>()
  #isOpen = false

  constructor(name: string) {
    this.name = name
  }

  get isReady(): boolean {
    return this.#isOpen
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  open(): void {
    if (this.#isOpen) return
    this.#isOpen = true
    for (const listener of [...this.#listeners]) listener()
  }
}
