// How full the ports are towards whom: the programs' own count as of the latest sweep, the fullest first.
import { setImmediate } from 'node:timers/promises'
import type { Pool, PoolKey } from '@sinabro/libbpf-ts/layouts'
import type { DatapathMaps } from '../datapath/maps.ts'

export interface PoolUse {
  /** Of the node, which pods speak under. */
  readonly address: string
  readonly to: string
  /** 0 for ICMP. */
  readonly port: number
  /** IPPROTO_*. */
  readonly proto: number
  readonly used: number
  /** New flows that got no port, since the row was made. */
  readonly failed: number
}

/** What is kept of the fullest: enough for every view, and bounded whatever pods do. */
const MOST = 100

export class Pools {
  readonly #map: DatapathMaps['pools']
  #fullest: readonly PoolUse[] = []
  #count = 0

  constructor({ pools }: Pick<DatapathMaps, 'pools'>) {
    this.#map = pools
  }

  /** As of the last look, at most a hundred. */
  get fullest(): readonly PoolUse[] {
    return this.#fullest
  }

  get count(): number {
    return this.#count
  }

  async look(): Promise<void> {
    let fullest: PoolUse[] = []
    let count = 0
    for await (const rows of this.#map.chunks()) {
      count += rows.length
      const more = rows.map(([key, pool]) => useOf(key, pool))
      fullest = [...fullest, ...more].sort(byUse).slice(0, MOST)
      await setImmediate()
    }
    this.#fullest = fullest
    this.#count = count
  }
}

function useOf({ saddr, daddr, dport, proto }: PoolKey, { used, failed }: Pool): PoolUse {
  return { address: saddr, to: daddr, port: dport, proto, used, failed }
}

function byUse(a: PoolUse, b: PoolUse): number {
  return b.used - a.used || b.failed - a.failed
}
