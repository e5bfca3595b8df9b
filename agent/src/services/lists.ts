// Lists of backends in sb_slots: what each has, and the fewest writes that make it another, each of which leaves a list that can be read.
import type { TypedMap } from '@sinabro/libbpf-ts'
import { SLOT_MEMBER, type Slot, type SlotKey } from '@sinabro/libbpf-ts/layouts'
import type { Backends } from './backends.ts'
import type { MapWriter } from './map-writer.ts'

/** As the map has it, whoever wrote it and however far they came. */
export interface List {
  /** Ids by slot, from slot 1 on; 0 where there is none. */
  readonly ids: number[]
  /** What slot 0 says. */
  size: number
  /** Rows of SLOT_MEMBER: their slot, by id. */
  members: Map<number, number> | undefined
}

export type Lists = Map<number, List>

/** Beyond is nothing that we wrote. */
export const SLOTS_MOST = 1 << 20

/** One row as it was read; false if it is none of a list. */
export function readSlot(lists: Lists, { list: id, slot }: SlotKey, { backend }: Slot): boolean {
  const isMember = slot >= SLOT_MEMBER
  if (id === 0 || (!isMember && slot > SLOTS_MOST)) return false
  let list = lists.get(id)
  if (list === undefined) {
    list = { ids: [], size: 0, members: undefined }
    lists.set(id, list)
  }
  if (isMember) {
    list.members ??= new Map()
    list.members.set(slot - SLOT_MEMBER, backend)
  } else if (slot === 0) {
    list.size = backend
  } else {
    while (list.ids.length < slot) list.ids.push(0)
    list.ids[slot - 1] = backend
  }
  return true
}

const NO_MEMBERS: ReadonlyMap<number, number> = new Map()

export interface ListWriterDeps {
  readonly writer: MapWriter
  readonly slots: TypedMap<SlotKey, Slot>
  readonly lists: Lists
  readonly backends: Backends
}

/**
 * Makes the list have exactly these. Members that nobody asks for any more stay with those that stay: see dropMembers().
 * What comes takes the slots of what goes; what is left over at the end moves into the holes. Then slot 0, then no more of the end.
 * Says whether a backend is gone from it.
 */
export async function writeList(
  deps: ListWriterDeps,
  id: number,
  wanted: readonly number[],
  hasMembers: boolean,
): Promise<boolean> {
  const { writer, slots, lists, backends } = deps
  const list = lists.get(id) ?? { ids: [], size: 0, members: undefined }
  const { ids } = list
  const missing = new Set(wanted)
  const size = missing.size
  const holes: number[] = []
  const beyond: number[] = []
  let hasLost = false
  for (const [at, one] of ids.entries()) {
    const stays = missing.delete(one)
    hasLost ||= !stays
    if (stays && at >= size) beyond.push(one)
    else if (!stays && at < size) holes.push(at)
  }
  for (let at = ids.length; at < size; at++) holes.push(at)
  const news = [...missing, ...beyond]
  const rows = holes.map((at, i) => slotRow(id, at + 1, news[i] ?? 0))
  const isWhole = rows.length === 0 && list.size === size && ids.length === size
  if (isWhole && (!hasMembers || hasAllMembers(list))) return false
  lists.set(id, list)
  const kept = new Set(wanted)
  const going = [...(list.members?.keys() ?? [])].filter((one) => !kept.has(one))
  await writer.drop(
    slots,
    going.map((one) => memberKey(id, one)),
  )
  for (const one of going) list.members?.delete(one)
  await writer.put(slots, rows, ([{ slot }, { backend }]) => {
    const before = ids[slot - 1] ?? 0
    while (ids.length < slot) ids.push(0)
    ids[slot - 1] = backend
    backends.hold(backend)
    if (before !== 0) backends.release(before)
  })
  if (list.size !== size && size > 0) {
    await writer.put(slots, [slotRow(id, 0, size)], () => {
      list.size = size
    })
  }
  if (hasMembers) await writeMembers(deps, id, list, size)
  if (size === 0 && list.size > 0) {
    await writer.drop(slots, [{ list: id, slot: 0 }])
    list.size = 0
  }
  await cutList(deps, id, list, size)
  if (ids.length === 0 && isMemberless(list)) lists.delete(id)
  return hasLost
}

/** From the end, so that what is left is without a gap wherever this is cut short. */
async function cutList(
  { writer, slots, backends }: ListWriterDeps,
  id: number,
  { ids }: List,
  size: number,
): Promise<void> {
  const keys: SlotKey[] = []
  for (let slot = ids.length; slot > size; slot--) keys.push({ list: id, slot })
  await writer.drop(slots, keys)
  for (const gone of ids.splice(size)) if (gone !== 0) backends.release(gone)
}

/** Once no header asks for affinity. */
export async function dropMembers(deps: ListWriterDeps, id: number): Promise<void> {
  const list = deps.lists.get(id)
  if (list?.members === undefined) return
  await deps.writer.drop(
    deps.slots,
    [...list.members.keys()].map((one) => memberKey(id, one)),
  )
  list.members = undefined
}

async function writeMembers(
  { writer, slots }: ListWriterDeps,
  id: number,
  list: List,
  size: number,
): Promise<void> {
  list.members ??= new Map()
  const members = list.members
  const rows: [SlotKey, Slot][] = []
  for (let at = 0; at < size; at++) {
    const one = list.ids[at] ?? 0
    if (members.get(one) !== at + 1) rows.push([memberKey(id, one), slotOf(at + 1)])
  }
  await writer.put(slots, rows, ([{ slot }, { backend }]) => {
    members.set(slot - SLOT_MEMBER, backend)
  })
}

function hasAllMembers(list: List): boolean {
  const { ids } = list
  const members: ReadonlyMap<number, number> = list.members ?? NO_MEMBERS
  return members.size === ids.length && ids.every((one, at) => members.get(one) === at + 1)
}

function isMemberless({ members }: List): boolean {
  return members === undefined || members.size === 0
}

function slotRow(list: number, slot: number, backend: number): [SlotKey, Slot] {
  return [{ list, slot }, slotOf(backend)]
}

function slotOf(backend: number): Slot {
  return { backend, weight: 0 }
}

function memberKey(list: number, id: number): SlotKey {
  return { list, slot: SLOT_MEMBER + id }
}
