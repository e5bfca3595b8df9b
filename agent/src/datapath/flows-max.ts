// How many rows the flow table gets where nobody says: by the memory of the machine.

const KIB = 1024
/** What a row costs, with its share of the buckets. */
export const ROW_BYTES = 176
const MEMORY_PER_ROW = 64 * KIB
/** The most are as many connections as the kernel's own conntrack has room for by default, two rows each. */
const BOUNDS = { least: 65_536, most: 524_288 } as const
const SHARE_OF_LIMIT = 4

export interface Memory {
  readonly totalBytes: number
  /** Of the cgroup that is charged for maps; more than there is, or nothing: none. */
  readonly limitBytes?: number | undefined
}

/** A row for every 64 KiB of memory, as a power of two; at most a quarter of what this process may use. */
export function defaultFlowsMax({ totalBytes, limitBytes = Infinity }: Memory): number {
  const byMemory = floorToPowerOfTwo(totalBytes / MEMORY_PER_ROW)
  const wanted = Math.min(Math.max(byMemory, BOUNDS.least), BOUNDS.most)
  const allowed = (limitBytes || Infinity) / SHARE_OF_LIMIT / ROW_BYTES
  return allowed < wanted ? floorToPowerOfTwo(allowed) : wanted
}

function floorToPowerOfTwo(number: number): number {
  return 2 ** Math.floor(Math.log2(Math.max(number, KIB)))
}
