// Keys of sb_src_ranges: who may ask a service from outside, as text and as the map has it.
import type { SourceRangeKey } from '@sinabro/libbpf-ts/layouts'
import { formatKey, parseKey } from '../overlay/prefix.ts'

/** Bits of the service id, before those of the address. */
const SERVICE_BITS = 32

export function parseRange(service: number, range: string): SourceRangeKey {
  const { prefixLen, addr } = parseKey(range)
  return { prefixLen: prefixLen + SERVICE_BITS, service, addr }
}

export function formatRange({ prefixLen, addr }: SourceRangeKey): string {
  return formatKey({ prefixLen: prefixLen - SERVICE_BITS, addr })
}
