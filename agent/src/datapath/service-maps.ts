// How large the maps of services are: by the setting, but those in use keep the size they were made with.
import { join } from 'node:path'
import { BpfError, BpfMap } from '@sinabro/libbpf-ts'
import { MAP_NAMES } from '@sinabro/libbpf-ts/layouts'

/** Where Services are nobody's of ours. */
const UNUSED = 1
const NODE_ADDRESSES = 4096
const LENT = 1024
const BACKEND_IDS = 4096

/** Rows of each for so many of sb_services, which comes last: what it says decides about the others. */
function sizesOf(servicesMax: number): ReadonlyMap<string, number> {
  return new Map([
    [MAP_NAMES.slots, servicesMax * 4],
    [MAP_NAMES.backends, servicesMax * 2],
    [MAP_NAMES.sourceRanges, Math.ceil(servicesMax / 2)],
    // These three are allocated whole when they are made.
    [MAP_NAMES.affinity, Math.ceil(servicesMax / 4)],
    [MAP_NAMES.backendIds, BACKEND_IDS],
    [MAP_NAMES.lent, LENT],
    [MAP_NAMES.maglev, Math.ceil(servicesMax / 8)],
    [MAP_NAMES.nodeAddrs, NODE_ADDRESSES],
    [MAP_NAMES.services, servicesMax],
  ])
}

/**
 * What each is to be made with. Pinned ones of another size go if no service is in them: programs that still run on them find
 * nothing there, as before. The others stay as they are until they are emptied, or the node boots.
 */
export function settleServiceMaps(
  pinDir: string,
  servicesMax: number | undefined,
): ReadonlyMap<string, number> {
  const wanted = sizesOf(servicesMax ?? UNUSED)
  const sizes = new Map<string, number>()
  const areInUse = isInUse(join(pinDir, MAP_NAMES.services))
  for (const [name, size] of wanted) {
    const rows = servicesMax === undefined ? UNUSED : size
    const pinned = pinnedSize(join(pinDir, name))
    if (pinned !== undefined && pinned !== rows && !areInUse) BpfMap.unpin(join(pinDir, name))
    sizes.set(name, areInUse && pinned !== undefined ? pinned : rows)
  }
  return sizes
}

function isInUse(path: string): boolean {
  return look(path, (map) => map.keys().next().done !== true) ?? false
}

/** Undefined: nothing is pinned there. */
export function pinnedSize(path: string): number | undefined {
  return look(path, ({ info }) => info.maxEntries)
}

function look<T>(path: string, ask: (map: BpfMap) => T): T | undefined {
  try {
    using map = BpfMap.openPinned(path)
    return ask(map)
  } catch (error) {
    if (error instanceof BpfError && error.code === 'ENOENT') return undefined
    throw error
  }
}
