// The pools of a node, one per family: an attachment takes an address of each, or none at all.
import { matchAsked } from './asked.ts'
import { IpamError } from './errors.ts'
import { Pool } from './pool.ts'
import { parseRange } from './range.ts'

export interface RangeUsage {
  readonly range: string
  /** How many addresses can be given. */
  readonly capacity: number
  readonly used: number
}

export class Pools {
  #pools: readonly Pool[] = []

  get ranges(): readonly string[] {
    return this.#pools.map(({ range }) => range.text)
  }

  usage(): readonly RangeUsage[] {
    return this.#pools.map(({ range, capacity, used }) => ({ range: range.text, capacity, used }))
  }

  /** Both lists may name addresses of other ranges. @throws IpamError range-invalid, and keeps the ranges it has */
  replace(
    texts: readonly string[],
    taken: readonly string[],
    released: () => Iterable<string>,
  ): void {
    const ranges = texts.map(parseRange)
    if (new Set(ranges.map(({ family }) => family)).size < ranges.length) {
      const list = texts.join(', ')
      throw new IpamError('range-invalid', `expected one range per family, found ${list}`)
    }
    this.#pools = ranges.map((range) => new Pool(range, taken, released()))
  }

  /**
   * One address of each range, those asked for among them.
   * @throws IpamError no-range, pool-exhausted, address-outside, address-taken; then nothing is taken
   */
  take(askedFor: readonly string[]): readonly string[] {
    if (this.#pools.length === 0) {
      throw new IpamError(
        'no-range',
        'this node has no pod range yet: its Node object has no spec.podCIDRs, or has not been read',
      )
    }
    const asked = matchAsked(askedFor, this.#pools)
    const addresses: string[] = []
    for (const [index, pool] of this.#pools.entries()) {
      const address = asked[index] ?? pool.take()
      if (address === undefined) {
        this.putBack(addresses)
        const { range, capacity } = pool
        throw new IpamError(
          'pool-exhausted',
          `${range.text}: all ${capacity} addresses are in use; delete pods or give the node a larger range`,
        )
      }
      addresses.push(address)
    }
    // Last, when nothing can fail any more: what was given back earlier keeps its place in the line.
    for (const [index, pool] of this.#pools.entries()) {
      const address = asked[index]
      if (address !== undefined) pool.takeAsked(address)
    }
    return Object.freeze(addresses)
  }

  /** They go to the end of the line. */
  release(addresses: readonly string[]): void {
    for (const pool of this.#pools) for (const address of addresses) pool.release(address)
  }

  /** For an allocation that came to nothing: they are the next to be given. */
  putBack(addresses: readonly string[]): void {
    for (const pool of this.#pools) for (const address of addresses) pool.putBack(address)
  }
}
