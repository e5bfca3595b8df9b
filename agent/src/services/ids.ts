// Numbers of services, lists and backends: each is new to whatever may still name an old one.

/** An earlier agent gave numbers above the highest that is left: so many are passed over. */
const GAP = 1 << 20
/** The highest bit of a slot says that what follows is a backend (`SLOT_MEMBER`). */
const HIGHEST = 0x7fff_ffff

export class Ids {
  #last: number

  /** @param highest of those in use */
  constructor(highest: number) {
    this.#last = highest === 0 ? 0 : highest + GAP
  }

  /** Comes again only after all others. */
  next(isUsed: (id: number) => boolean): number {
    do this.#last = this.#last >= HIGHEST ? 1 : this.#last + 1
    while (isUsed(this.#last))
    return this.#last
  }
}
