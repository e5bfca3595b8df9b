// Maps of an earlier version that this one has none of: their pins go. Programs that still run on such a map hold it until they are replaced.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { BpfObject, OBJECTS, objectPath, unpin } from '@sinabro/libbpf-ts'

/** What names of all our maps begin with. */
const PREFIX = 'sb_'

/**
 * Once the programs of this version are loaded: until then the earlier one may have to come back.
 * @param loaded those whose maps are pinned there
 */
export function removeUnknownPins(mapsDir: string, loaded: readonly BpfObject[]): void {
  const names = new Set(loaded.flatMap(({ mapNames }) => mapNames))
  const others = readdirSync(mapsDir, { withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.startsWith(PREFIX))
    .map(({ name }) => name)
    .filter((name) => !names.has(name))
  if (others.length === 0) return
  for (const path of OBJECTS.map(objectPath)) {
    // Settings leave some out; their maps are known all the same.
    if (loaded.some((object) => object.path === path)) continue
    const object = BpfObject.open(path)
    for (const name of object.mapNames) names.add(name)
    object.close()
  }
  for (const name of others) if (!names.has(name)) unpin(join(mapsDir, name))
}
