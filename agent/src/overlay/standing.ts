// Which device the overlay's routes and neighbours lie on, once it stands. A source: before that nothing is made, and nothing pruned.
import type { Source } from '../state/table.ts'

export class Standing implements Source {
  readonly name = 'overlay device'
  readonly #listeners = new Set<() => void>()
  #index: number | undefined

  get index(): number | undefined {
    return this.#index
  }

  get isReady(): boolean {
    return this.#index !== undefined
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Whether that is another than before. */
  set(index: number): boolean {
    if (this.#index === index) return false
    this.#index = index
    for (const listener of [...this.#listeners]) listener()
    return true
  }
}
