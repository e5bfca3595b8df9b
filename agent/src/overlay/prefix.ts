// Prefixes as text and as the keys of sb_ipcache, which counts IPv4 prefixes from bit 96 on.
import type { PrefixKey } from '@sinabro/libbpf-ts/layouts'
import { formatIp, parsePrefix } from '@sinabro/node-netlink'

const IPV4_BITS = 96

/** '10.244.2.0/24' */
export function parseKey(prefix: string): PrefixKey {
  const { family, bytes, prefixLen } = parsePrefix(prefix)
  return { prefixLen: family === 4 ? prefixLen + IPV4_BITS : prefixLen, addr: formatIp(bytes) }
}

export function formatKey({ addr, prefixLen }: PrefixKey): string {
  return `${addr}/${addr.includes(':') ? prefixLen : prefixLen - IPV4_BITS}`
}
