// Which Services would have which addresses from outside: to find those that a new node or range concerns.
import { formatPrefix, networkOf, parseIp, parsePrefix } from '@sinabro/node-netlink'

export class Outside {
  readonly #services = new Map<string, Set<string>>()
  readonly #addresses = new Map<string, readonly string[]>()

  /** All of a Service. */
  set(key: string, addresses: readonly string[]): void {
    for (const address of this.#addresses.get(key) ?? []) this.#drop(address, key)
    if (addresses.length === 0) this.#addresses.delete(key)
    else this.#addresses.set(key, addresses)
    for (const address of addresses) {
      this.#services.set(address, (this.#services.get(address) ?? new Set()).add(key))
    }
  }

  services(): string[] {
    return [...this.#addresses.keys()]
  }

  /** Of those within a range. Clusters have few such addresses, and nodes seldom move. */
  within(range: string): string[] {
    const { family, prefixLen } = parsePrefix(range)
    const found: string[] = []
    for (const [address, keys] of this.#services) {
      const ip = parseIp(address)
      const isInside =
        ip.family === family && formatPrefix(networkOf({ ...ip, prefixLen })) === range
      if (isInside) found.push(...keys)
    }
    return found
  }

  #drop(address: string, key: string): void {
    const keys = this.#services.get(address)
    keys?.delete(key)
    if (keys?.size === 0) this.#services.delete(address)
  }
}
