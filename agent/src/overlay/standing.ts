// Which devices the overlay's routes and neighbours lie on, once they stand. A source: before that nothing is made, and nothing pruned.
import type { Source } from '../state/table.ts'

export class Standing implements Source {
  readonly name = 'overlay device'
  readonly #listeners = new Set<() => void>()
  #index: number | undefined
  #dsrIndex: number | undefined

  get index(): number | undefined {
    return this.#index
  }

  /** Of the device for direct server return in mode none. */
  get dsrIndex(): number | undefined {
    return this.#dsrIndex
  }

  get isReady(): boolean {
    return this.#index !== undefined
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Whether that is another than before. */
  set(index: number, dsrIndex?: number): boolean {
    if (this.#index === index && this.#dsrIndex === dsrIndex) return false
    this.#index = index
    this.#dsrIndex = dsrIndex
    for (const listener of [...this.#listeners]) listener()
    return true
  }
}
