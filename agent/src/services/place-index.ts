// Finds places in a table of columns by a hash: open addressing in one typed array, where a Map would cost an object per row.

const FREE = -1
const LEAST = 64

/** Who keeps the rows says what the hash of a place is; equal hashes are told apart by the caller's own look at the row. */
export class PlaceIndex {
  readonly #hashOf: (place: number) => number
  #places = new Int32Array(LEAST).fill(FREE)
  #size = 0

  constructor(hashOf: (place: number) => number) {
    this.#hashOf = hashOf
  }

  /** The first place with this hash that is the one; -1 if there is none. */
  find(hash: number, isIt: (place: number) => boolean): number {
    const mask = this.#places.length - 1
    for (let at = spread(hash) & mask; ; at = (at + 1) & mask) {
      const place = this.#places[at] ?? FREE
      if (place === FREE || isIt(place)) return place
    }
  }

  /** One that is not in yet. */
  add(place: number): void {
    if (++this.#size * 2 > this.#places.length) this.#grow()
    this.#put(place)
  }

  /** While its row still is as it was when it came. */
  remove(place: number): void {
    const mask = this.#places.length - 1
    let hole = spread(this.#hashOf(place)) & mask
    while (this.#places[hole] !== place) {
      if (this.#places[hole] === FREE) return
      hole = (hole + 1) & mask
    }
    this.#size--
    // What was pushed along by the one that goes moves back, so that no search ends before it.
    for (let at = (hole + 1) & mask; ; at = (at + 1) & mask) {
      const moved = this.#places[at] ?? FREE
      if (moved === FREE) break
      const home = spread(this.#hashOf(moved)) & mask
      if (((at - home) & mask) < ((at - hole) & mask)) continue
      this.#places[hole] = moved
      hole = at
    }
    this.#places[hole] = FREE
  }

  #put(place: number): void {
    const mask = this.#places.length - 1
    let at = spread(this.#hashOf(place)) & mask
    while (this.#places[at] !== FREE) at = (at + 1) & mask
    this.#places[at] = place
  }

  #grow(): void {
    const before = this.#places
    this.#places = new Int32Array(before.length * 2).fill(FREE)
    for (const place of before) if (place !== FREE) this.#put(place)
  }
}

/** Numbers that follow each other must not lie side by side: a run of them would be one long search. */
function spread(hash: number): number {
  const mixed = Math.imul(hash ^ (hash >>> 16), 0x45d9f3b)
  return (mixed ^ (mixed >>> 16)) >>> 0
}
