// Which Service has an address, port and protocol that several claim: an index, so that a change costs what changed.

/** A Service that claims something. */
export interface Claimant {
  /** `namespace/name`. */
  readonly key: string
  /** `metadata.creationTimestamp`; empty where there is none. */
  readonly createdAt: string
  /** As its cluster address, which was given to it: what others ask for stands behind. */
  readonly isAssigned: boolean
}

export class Claims {
  /** Who has it comes first. A list only where there are several: nearly all have one. */
  readonly #claimants = new Map<string, Claimant | readonly Claimant[]>()
  readonly #claims = new Map<string, readonly string[]>()

  /**
   * All that a Service claims from now on.
   * @returns the other Services for which something changed
   */
  set(key: string, claims: ReadonlyMap<string, Claimant>): Set<string> {
    const touched = new Set<string>()
    for (const claim of this.#claims.get(key) ?? []) {
      if (!claims.has(claim)) this.#change(claim, key, undefined, touched)
    }
    for (const [claim, claimant] of claims) this.#change(claim, key, claimant, touched)
    if (claims.size === 0) this.#claims.delete(key)
    // A copy is no longer than it must be.
    else this.#claims.set(key, [...claims.keys()].slice())
    touched.delete(key)
    return touched
  }

  /** Key of the Service that has it. */
  holder(claim: string): string | undefined {
    return this.#list(claim)[0]?.key
  }

  #change(claim: string, key: string, claimant: Claimant | undefined, touched: Set<string>): void {
    const before = this.#list(claim)
    const others = before.filter((one) => one.key !== key)
    const after = claimant === undefined ? others : [...others, claimant].sort(compare)
    const [only] = after
    if (only === undefined) this.#claimants.delete(claim)
    else this.#claimants.set(claim, after.length === 1 ? only : after)
    if (before[0]?.key === only?.key) return
    for (const one of others) touched.add(one.key)
  }

  #list(claim: string): readonly Claimant[] {
    const found = this.#claimants.get(claim)
    if (found === undefined) return []
    return 'key' in found ? [found] : found
  }
}

/** Who was there first, the same on every node. ADR 0084. */
function compare(a: Claimant, b: Claimant): number {
  if (a.isAssigned !== b.isAssigned) return a.isAssigned ? -1 : 1
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? -1 : 1
  return a.key < b.key ? -1 : 1
}
