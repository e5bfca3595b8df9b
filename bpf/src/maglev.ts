// Tables of sb_maglev: what a program finds in one for a client, and the rows that one is written as (bpf/lib/maglev.h).
import type { Row } from './map-info.ts'
import { MAGLEV_ROW, maglevRow } from './service-layouts.ts'
import { addr, u32 } from './struct.ts'

/** `BPF_F_INNER_MAP` of include/uapi/linux/bpf.h: a table may have another length than the one whose place it takes. */
const BPF_F_INNER_MAP = 0x1000
/** Of what is mixed, in `maglev__hash`. */
const HASHED_BYTES = 20

/** Who asks, and what for. */
export interface MaglevClient {
  readonly address: string
  /** 0: of a client that is to keep its backend, whatever its port. */
  readonly port: number
  readonly servicePort: number
  readonly proto: number
}

/** One round of MurmurHash3. */
function mix(hash: number, word: number): number {
  const one = Math.imul(word, 0xcc9e2d51)
  const mixed = hash ^ Math.imul((one << 15) | (one >>> 17), 0x1b873593)
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0
}

export function maglevHash({ address, port, servicePort, proto }: MaglevClient): number {
  const bytes = Buffer.from(addr.encode(address))
  let hash = proto
  for (let at = 0; at < addr.size; at += 4) hash = mix(hash, bytes.readUInt32BE(at))
  hash = mix(hash, (port << 16) | servicePort) ^ HASHED_BYTES
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** How the map of a table of so many entries is made. */
export function maglevSpec(entries: number) {
  return {
    type: 'array',
    keySize: u32.size,
    valueSize: maglevRow.size,
    maxEntries: 1 + Math.ceil(entries / MAGLEV_ROW),
    flags: BPF_F_INNER_MAP,
  } as const
}

/** All rows of a table, by its entries: ids of backends. */
export function maglevRows(entries: Uint32Array): Row[] {
  const { maxEntries } = maglevSpec(entries.length)
  const words = new Uint32Array(maxEntries * MAGLEV_ROW)
  words[0] = entries.length
  words.set(entries, MAGLEV_ROW)
  const bytes = new Uint8Array(words.buffer)
  return Array.from({ length: maxEntries }, (_, at) => [
    u32.encode(at),
    bytes.subarray(at * maglevRow.size, (at + 1) * maglevRow.size),
  ])
}

/** The backend of a client, in a table's rows as the kernel has them; 0: the table is none. */
export function maglevBackend(
  lookup: (row: number) => Uint8Array | undefined,
  hash: number,
): number {
  const entry = (row: number, at: number): number => {
    const bytes = lookup(row)
    return bytes === undefined ? 0 : (maglevRow.decode(bytes)[at] ?? 0)
  }
  const size = entry(0, 0)
  if (size === 0) return 0
  const at = hash % size
  return entry(1 + Math.floor(at / MAGLEV_ROW), at % MAGLEV_ROW)
}
