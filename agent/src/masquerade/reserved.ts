// Ports that no masqueraded flow gets: those of the settings, of the tunnel, and those that the kernel keeps from its own choice.
import type { DatapathMaps } from '../datapath/maps.ts'
import type { KernelSettings } from '../kernel-settings.ts'
import { parsePorts, reservedBits } from './ports.ts'
import type { PortRange } from './rows.ts'

const SETTING = 'ipv4/ip_local_reserved_ports'

export class ReservedPorts {
  readonly #maps: Pick<DatapathMaps, 'reserved'>
  readonly #settings: Pick<KernelSettings, 'read'>
  readonly #fixed: readonly PortRange[]
  #ranges: readonly PortRange[] = []
  #isUnknown = false
  /** The kernel's setting as the rows have it; undefined until they are written. */
  #written: string | undefined

  constructor(
    maps: Pick<DatapathMaps, 'reserved'>,
    settings: Pick<KernelSettings, 'read'>,
    fixed: readonly PortRange[],
  ) {
    this.#maps = maps
    this.#settings = settings
    this.#fixed = fixed
  }

  get ranges(): readonly PortRange[] {
    return this.#ranges
  }

  /** The kernel's setting says something that is not understood: it counts as empty. */
  get isUnknown(): boolean {
    return this.#isUnknown
  }

  /** The kernel's setting changes without a word, so it is read each time; rows only when it is another. */
  write(): void {
    const text = this.#settings.read(SETTING) ?? ''
    if (text === this.#written) return
    const ofKernel = parsePorts(text)
    this.#isUnknown = ofKernel === undefined
    this.#ranges = [...this.#fixed, ...(ofKernel ?? [])]
    const { reserved } = this.#maps
    for (const [row, bits] of reservedBits(this.#ranges).entries()) {
      if (reserved.get(row) !== bits) reserved.set(row, bits)
    }
    this.#written = text
  }
}
