// One copy of each text that many objects have: names of nodes, zones, ports, namespaces.

/** More than that are not so frequent: it begins anew, and what was handed out stays what it is. */
const MOST = 20_000

export class Interned {
  readonly #texts = new Map<string, string>()

  one(text: string): string {
    const known = this.#texts.get(text)
    if (known !== undefined) return known
    if (this.#texts.size >= MOST) this.#texts.clear()
    this.#texts.set(text, text)
    return text
  }
}
