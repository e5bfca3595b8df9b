// The one row of sb_config: kept as the kernel has it over restarts, changed member by member, its generation bumped last.
import type { TypedMap } from '@sinabro/libbpf-ts'
import {
  CONFIG_NATIVE,
  CONFIG_READY,
  CONFIG_TUNNEL_IPV6,
  type Config,
} from '@sinabro/libbpf-ts/layouts'

const ROW = 0
const FIRST_GENERATION = 1
/** Flags that say how other nodes are reached; the rest are not the overlay's to change. */
export const WAY_FLAGS = CONFIG_TUNNEL_IPV6 | CONFIG_NATIVE
const NO_MAC = '00:00:00:00:00:00'

const EMPTY: Config = {
  generation: FIRST_GENERATION,
  flags: 0,
  ownNode: 0,
  overlayIfindex: 0,
  vni: 0,
  overlayMac: NO_MAC,
  tunnelPort: 0,
  uplinkIfindex: 0,
  tunnelLocal4: '::',
  tunnelLocal6: '::',
  portMin: 0,
  portMax: 0,
}

export class ConfigRow {
  readonly #map: TypedMap<number, Config>
  #row: Config

  /** What an earlier agent wrote goes on: flow rows name its generation. */
  constructor(map: TypedMap<number, Config>) {
    this.#map = map
    const pinned = map.get(ROW)
    this.#row = pinned === undefined || pinned.generation === 0 ? EMPTY : pinned
  }

  get value(): Config {
    return this.#row
  }

  get isReady(): boolean {
    return this.has(CONFIG_READY)
  }

  has(flag: number): boolean {
    return (this.#row.flags & flag) !== 0
  }

  /** From now on packets are judged instead of dropped. Never taken back: a restart must not stop running pods. */
  markReady(): void {
    if (!this.isReady) this.#write({ ...this.#row, flags: this.#row.flags | CONFIG_READY })
  }

  /** Everything but generation, and of the flags those of the ways to other nodes. An equal row is not written. */
  change(
    change: Partial<Omit<Config, 'generation' | 'flags'>> & { readonly flags?: number },
  ): void {
    const { flags = this.#row.flags, ...members } = change
    const next = { ...this.#row, ...members, flags: this.#withWays(flags) }
    const isSame = (Object.keys(next) as (keyof Config)[]).every((k) => next[k] === this.#row[k])
    if (!isSame) this.#write(next)
  }

  /**
   * The same, and where the way to other nodes is of another sort than before every flow is judged again. In one write, lest
   * a crash comes between; and once more, for packets that met the row half written.
   */
  changeWays(change: Parameters<ConfigRow['change']>[0]): void {
    const before = this.#row
    const after = { ...before, ...change, flags: this.#withWays(change.flags ?? before.flags) }
    const sortOf = ({ flags, overlayIfindex }: Config): string =>
      `${flags & WAY_FLAGS} ${overlayIfindex !== 0}`
    if (!this.isReady || sortOf(before) === sortOf(after)) {
      this.change(change)
      return
    }
    const generation = nextGeneration(before.generation)
    this.#write({ ...after, generation })
    this.bumpGeneration()
  }

  /** Of the flags in `mask` those in `flags`; not for the ways to other nodes. */
  setFlags(mask: number, flags: number): void {
    const next = (this.#row.flags & ~mask) | (flags & mask)
    if (next !== this.#row.flags) this.#write({ ...this.#row, flags: next })
  }

  /**
   * Makes every flow be judged again. Only after the maps say what is new: a program reads the generation first, so what it
   * then finds is at least as new as that. 0 is skipped, it means "never written".
   */
  bumpGeneration(): void {
    this.#write({ ...this.#row, generation: nextGeneration(this.#row.generation) })
  }

  #withWays(flags: number): number {
    return (this.#row.flags & ~WAY_FLAGS) | (flags & WAY_FLAGS)
  }

  #write(row: Config): void {
    this.#map.set(ROW, row)
    this.#row = row
  }
}

function nextGeneration(generation: number): number {
  const next = (generation + 1) >>> 0
  return next === 0 ? FIRST_GENERATION : next
}
