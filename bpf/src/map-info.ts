// What a map is and how one is asked for; BpfMap is the map itself.
import { bpfMapInfo, infoOf, type MapType, mapTypeName } from './kernel-info.ts'

/** `BPF_ANY`, `BPF_NOEXIST`, `BPF_EXIST`. */
export type UpdateMode = 'any' | 'noexist' | 'exist'

export type Row = readonly [key: Uint8Array, value: Uint8Array]

export interface MapInfo {
  readonly id: number
  readonly name: string
  readonly type: MapType
  readonly keySize: number
  readonly valueSize: number
  readonly maxEntries: number
  /** `BPF_F_…` of creation. */
  readonly flags: number
}

export interface MapSpec {
  readonly type: Exclude<MapType, 'unknown'>
  readonly keySize: number
  readonly valueSize: number
  readonly maxEntries: number
  /** At most 15 characters: all the kernel keeps. */
  readonly name: string
  readonly flags?: number
  /** The template of a map of maps. */
  readonly inner?: { readonly fd: number }
}

export function mapInfoOf(fd: number): MapInfo {
  const { id, name, type, keySize, valueSize, maxEntries, mapFlags } = infoOf(fd, bpfMapInfo)
  return { id, name, type: mapTypeName(type), keySize, valueSize, maxEntries, flags: mapFlags }
}
