// Holds the service maps against what was written, some rows at a time: strangers go, what is gone or other is written again as it was.
// Between two parts somebody may write; each row is judged by what is known of it at that moment.
import { setImmediate } from 'node:timers/promises'
import { type TypedMap, u32 } from '@sinabro/libbpf-ts'
import { backend, SLOT_MEMBER, type SlotKey } from '@sinabro/libbpf-ts/layouts'
import { nameOf } from './compute.ts'
import { type List, SLOTS_MOST } from './lists.ts'
import type { MapWriter } from './map-writer.ts'
import type { Mirror, ServiceMaps } from './mirror.ts'
import { isSameHeader } from './row-writer.ts'
import { formatRange, parseRange } from './source-ranges.ts'

export interface RepairDeps {
  readonly maps: ServiceMaps
  readonly writer: MapWriter
  readonly mirror: Mirror
  readonly signal: AbortSignal
  /** Rows looked at in one part: what changes meanwhile waits for the end of it. */
  readonly partRows?: number
}

/** Some milliseconds. */
const PART_ROWS = 1000

/** Ends parts; the event loop has a turn after each. @throws MapFullError */
export async function* repair(deps: RepairDeps): AsyncGenerator<void, void, undefined> {
  const { partRows = PART_ROWS, signal } = deps
  let left = partRows
  for (const steps of [dropStrangers, mendBackends, mendLists, mendRanges, mendHeaders]) {
    for await (const rows of steps(deps)) {
      left -= rows
      if (left > 0) continue
      left = partRows
      yield
      await setImmediate()
      signal.throwIfAborted()
    }
  }
}

/** How often the count of rows is looked at. */
const STEP = 100

/** Each tells how many rows it has looked at since. */
type Steps = AsyncGenerator<number, void, undefined>

/** First, so that there is room. */
async function* dropStrangers({ maps, writer, mirror }: RepairDeps): Steps {
  const { headers, backends, lists, ranges } = mirror
  for await (const rows of maps.services.chunks()) {
    await drop(writer, maps.services, rows, (key) => headers.has(nameOf(key)))
    yield rows.length
  }
  for await (const rows of maps.slots.chunks()) {
    await drop(writer, maps.slots, rows, (key) => isSlotOf(lists.get(key.list), key))
    yield rows.length
  }
  for await (const rows of maps.backends.chunks()) {
    await drop(writer, maps.backends, rows, (id) => backends.has(id))
    yield rows.length
  }
  // A trie has no chunks, and there are few.
  const rows = [...maps.sourceRanges.entries()]
  const isOurs = (key: (typeof rows)[number][0]): boolean =>
    ranges.get(key.service)?.has(formatRange(key)) === true
  for (const [key] of rows) if (!isOurs(key)) await writer.drop(maps.sourceRanges, [key])
  yield rows.length
}

async function drop<K, V>(
  writer: MapWriter,
  map: TypedMap<K, V>,
  rows: readonly (readonly [K, V])[],
  isOurs: (key: K) => boolean,
): Promise<void> {
  const strangers = rows.filter(([key]) => !isOurs(key)).map(([key]) => key)
  await writer.drop(map, strangers)
}

function isSlotOf(list: List | undefined, { slot }: SlotKey): boolean {
  if (list === undefined) return false
  if (slot >= SLOT_MEMBER) return list.members?.has(slot - SLOT_MEMBER) === true
  return slot === 0 ? list.size > 0 : slot <= SLOTS_MOST && slot <= list.ids.length
}

async function* mendBackends({ maps, writer, mirror: { backends } }: RepairDeps): Steps {
  let looked = 0
  for (const id of backends.ids()) {
    const known = backends.bytesOf(id)
    const found = maps.backends.map.lookup(u32.encode(id))
    if (known !== undefined && !isSameBytes(found, known)) {
      await writer.put(maps.backends, [[id, backend.decode(known)]], ignore)
    }
    if (++looked % STEP === 0) yield STEP
  }
}

async function* mendLists({ maps, writer, mirror: { lists } }: RepairDeps): Steps {
  const { slots } = maps
  let looked = 0
  const mend = async (list: number, slot: number, wanted: number): Promise<void> => {
    looked++
    if (slots.get({ list, slot })?.backend === wanted) return
    await writer.put(
      slots,
      [
        [
          { list, slot },
          { backend: wanted, weight: 0 },
        ],
      ],
      ignore,
    )
  }
  for (const [id, list] of lists) {
    for (let at = 0; at < list.ids.length; at++) {
      const one = list.ids[at] ?? 0
      if (one !== 0) await mend(id, at + 1, one)
      if (looked % STEP === 0) yield STEP
    }
    const { members } = list
    for (const [one, slot] of members ?? []) {
      if (list.members !== members) break
      await mend(id, SLOT_MEMBER + one, slot)
      if (looked % STEP === 0) yield STEP
    }
    if (list.size > 0) await mend(id, 0, list.size)
    if (looked % STEP === 0) yield STEP
  }
}

async function* mendRanges({ maps, writer, mirror: { ranges } }: RepairDeps): Steps {
  let looked = 0
  for (const [service, known] of ranges) {
    for (const range of known) {
      const key = parseRange(service, range)
      if (maps.sourceRanges.get(key) === undefined) {
        await writer.put(maps.sourceRanges, [[key, 1]], ignore)
      }
      if (++looked % STEP === 0) yield STEP
    }
  }
}

/** Last: now what they lead to is there. */
async function* mendHeaders({ maps, writer, mirror: { headers } }: RepairDeps): Steps {
  let looked = 0
  for (const { key, row } of headers.values()) {
    const found = maps.services.get(key)
    if (!isSameHeader(found, row)) await writer.put(maps.services, [[key, row]], ignore)
    if (++looked % STEP === 0) yield STEP
  }
}

const ignore = (): void => undefined

function isSameBytes(one: Uint8Array | undefined, other: Uint8Array): boolean {
  return one !== undefined && other.every((byte, at) => one[at] === byte)
}
