// Rows derived from rows, kept as the same objects while nothing about them changes: whoever compares them sees that at once.

/** One value per object; made again when `stamp`, what else it depends on, is another. Forgotten with the object. */
export class Memo<From extends object, Value> {
  readonly #known = new WeakMap<From, { readonly stamp: string; readonly value: Value }>()

  get(from: From, stamp: string, make: () => Value): Value {
    const known = this.#known.get(from)
    if (known !== undefined && known.stamp === stamp) return known.value
    const value = make()
    this.#known.set(from, { stamp, value })
    return value
  }
}
