// Addresses that an attachment asks for by name: read, matched with the pools, refused before anything is taken.
import { canonicalIp, isIp } from '@sinabro/node-netlink'
import { IpamError } from './errors.ts'
import type { Pool } from './pool.ts'
import { canAsk } from './range.ts'

/**
 * As runtimes write them, '10.244.1.5', '10.244.1.5/24' or 'FD00::5/64'; canonical and without the length, which is the network's
 * business. @throws IpamError address-invalid
 */
export function parseAsked(texts: readonly string[]): string[] {
  const addresses = [...new Set(texts.map(parseOne))]
  if (new Set(addresses.map(familyOf)).size < addresses.length) {
    const message = `asked for ${addresses.join(', ')}: expected at most one address per family`
    throw new IpamError('address-invalid', message)
  }
  return addresses
}

/**
 * For each pool the address asked of it, undefined where none was. Takes nothing.
 * @throws IpamError address-outside, address-taken
 */
export function matchAsked(
  asked: readonly string[],
  pools: readonly Pool[],
): readonly (string | undefined)[] {
  const places = new Map<Pool, string>()
  for (const address of asked) {
    const pool = pools.find(({ range }) => canAsk(range, address))
    if (pool === undefined) {
      const ranges = pools.map(({ range }) => range.text).join(', ')
      const message = `asked for ${address}: this node gives addresses of ${ranges}, without the first two and IPv4's last`
      throw new IpamError('address-outside', message)
    }
    if (pool.isTaken(address)) {
      throw new IpamError('address-taken', `asked for ${address}: it is in use`)
    }
    places.set(pool, address)
  }
  return pools.map((pool) => places.get(pool))
}

/** @throws IpamError address-differs, when what is held lacks something that is asked for */
export function requireAsked(asked: readonly string[], held: readonly string[]): void {
  if (asked.every((address) => held.includes(address))) return
  const message = `asked for ${asked.join(', ')}, but this attachment has ${held.join(', ')} since an earlier ADD`
  throw new IpamError('address-differs', message)
}

function parseOne(text: string): string {
  const [address = '', length, ...rest] = text.split('/')
  const isWhole = rest.length === 0 && (length === undefined || isLength(length, address))
  if (!isWhole || !isIp(address)) {
    const message = `asked for ${JSON.stringify(text)}: expected an address such as 10.244.1.5 or fd00::5`
    throw new IpamError('address-invalid', message)
  }
  return canonicalIp(address)
}

function isLength(text: string, address: string): boolean {
  return /^\d{1,3}$/.test(text) && Number(text) <= (familyOf(address) === 4 ? 32 : 128)
}

function familyOf(address: string): 4 | 6 {
  return address.includes(':') ? 6 : 4
}
