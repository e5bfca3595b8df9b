// The service maps as the kernel has them, read whole: what a start adopts, and what a refresh holds against what was written.
import { setImmediate } from 'node:timers/promises'
import { u32 } from '@sinabro/libbpf-ts'
import { backend, type Service, type ServiceKey, slot, slotKey } from '@sinabro/libbpf-ts/layouts'
import type { DatapathMaps } from '../datapath/maps.ts'
import { Backends } from './backends.ts'
import { nameOf } from './compute.ts'
import { type Lists, readSlot } from './lists.ts'
import { formatRange } from './source-ranges.ts'

export type ServiceMaps = Pick<DatapathMaps, 'services' | 'slots' | 'backends' | 'sourceRanges'>

/** A row of sb_services, and of which Service; undefined: of none that is known. */
export interface Header {
  readonly key: ServiceKey
  row: Service
  owner: string | undefined
}

export interface Mirror {
  /** By name. */
  readonly headers: Map<string, Header>
  readonly lists: Lists
  readonly backends: Backends
  /** Of each service id. */
  readonly ranges: Map<number, Set<string>>
  /** Highest service, list and backend id. */
  readonly highest: { service: number; list: number; backend: number }
}

export async function readMirror(maps: ServiceMaps, signal: AbortSignal): Promise<Mirror> {
  const mirror: Mirror = {
    headers: new Map(),
    lists: new Map(),
    backends: new Backends(),
    ranges: new Map(),
    highest: { service: 0, list: 0, backend: 0 },
  }
  const { headers, lists, backends, ranges, highest } = mirror
  for await (const { count, keys, values } of maps.backends.map.batches()) {
    signal.throwIfAborted()
    const ids = viewOf(keys)
    for (let at = 0; at < count; at++) {
      const id = u32.read(ids, at * u32.size)
      backends.put(id, values.subarray(at * backend.size, (at + 1) * backend.size))
      highest.backend = Math.max(highest.backend, id)
    }
  }
  for await (const { count, keys, values } of maps.slots.map.batches()) {
    signal.throwIfAborted()
    const [ofKeys, ofValues] = [viewOf(keys), viewOf(values)]
    for (let at = 0; at < count; at++) {
      const key = slotKey.read(ofKeys, at * slotKey.size)
      if (!readSlot(lists, key, slot.read(ofValues, at * slot.size))) maps.slots.delete(key)
      highest.list = Math.max(highest.list, key.list)
    }
  }
  for await (const rows of maps.services.chunks()) {
    signal.throwIfAborted()
    for (const [key, row] of rows) {
      headers.set(nameOf(key), { key, row, owner: undefined })
      highest.service = Math.max(highest.service, row.id)
      highest.list = Math.max(highest.list, row.internal, row.external)
    }
  }
  for (const [key] of maps.sourceRanges.entries()) {
    addRange(ranges, key.service, formatRange(key))
    highest.service = Math.max(highest.service, key.service)
  }
  await setImmediate()
  for (const { ids } of lists.values()) for (const id of ids) backends.hold(id)
  return mirror
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength)
}

export function addRange(ranges: Map<number, Set<string>>, service: number, range: string): void {
  const known = ranges.get(service)
  if (known === undefined) ranges.set(service, new Set([range]))
  else known.add(range)
}
