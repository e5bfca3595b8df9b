// Numbers for the other nodes, small enough for an array: kept over restarts, and not used again while there are unused ones. Pure.

export interface PinnedNode {
  readonly id: number
  readonly isValid: boolean
}

export interface IdState {
  /** Ids by node name. */
  readonly held: ReadonlyMap<string, number>
  /** Every id that was ever written to sb_nodes: flow rows may still name it. */
  readonly used: ReadonlySet<number>
}

export interface IdPlan extends IdState {
  /** Nodes that there is no id for. */
  readonly left: readonly string[]
  /** Some id names another node than flow rows may mean: every flow has to be judged again. */
  readonly hasReused: boolean
}

export interface IdPeer {
  readonly name: string
  readonly nodeAddresses: readonly string[]
}

/**
 * Gives each peer its id. A node keeps the one it has, or the one that the pinned map has under any of its addresses.
 * @param max ids are 1 … max - 1
 */
export function computeIds(
  peers: readonly IdPeer[],
  before: IdState,
  pinned: ReadonlyMap<string, number>,
  max: number,
): IdPlan {
  const held = new Map<string, number>()
  const taken = new Set<number>()
  for (const { name, nodeAddresses } of peers) {
    const id =
      before.held.get(name) ??
      nodeAddresses.map((address) => pinned.get(address)).find((one) => one !== undefined)
    // Two nodes that claim one number after their addresses changed hands: the second gets a new one.
    if (id === undefined || taken.has(id)) continue
    held.set(name, id)
    taken.add(id)
  }
  const used = new Set([...before.used, ...taken])
  const left: string[] = []
  let hasReused = false
  let unused = 1
  let free = 1
  for (const { name } of peers) {
    if (held.has(name)) continue
    while (unused < max && used.has(unused)) unused++
    while (unused >= max && free < max && taken.has(free)) free++
    const id = unused < max ? unused : free
    if (id >= max) {
      left.push(name)
      continue
    }
    hasReused ||= used.has(id)
    held.set(name, id)
    taken.add(id)
    used.add(id)
  }
  return { held, used, left, hasReused }
}
