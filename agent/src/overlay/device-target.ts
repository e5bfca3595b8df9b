// This node's end of the overlay as a reconciler's target: the device of its mode, its addresses, its programs and what they know of it.
import type { Config } from '@sinabro/libbpf-ts/layouts'
import type { Link, RouteNetlink } from '@sinabro/node-netlink'
import { WAY_FLAGS } from '../datapath/config-row.ts'
import type { Datapath } from '../datapath/datapath.ts'
import type { KernelSettings } from '../kernel-settings.ts'
import { OVERLAY_ALIAS, ROUTE_PROTOCOL } from '../marks.ts'
import { configOf, deviceName, isUsable, type OverlayDeviceRow, specOf } from './device.ts'
import type { TunnelMode } from './rows.ts'
import { settleDevice } from './settings.ts'
import type { WatchedTarget } from './watched.ts'

export interface OverlayDeviceActual {
  readonly link: Link
  readonly addresses: readonly { readonly address: string; readonly prefixLen: number }[]
  readonly isAttached: boolean
}

export interface OverlayDeviceDeps {
  readonly tunnel: TunnelMode
  readonly netlink: RouteNetlink
  readonly settings: KernelSettings
  readonly datapath: Pick<
    Datapath,
    'attachOverlay' | 'isOverlayAttached' | 'forgetDevice' | 'setOwnAddresses' | 'config'
  >
}

/** Somebody else's device has the name: renaming or removing it is for a person to decide. */
export class DeviceTakenError extends Error {
  override readonly name = 'DeviceTakenError'
  readonly code = 'device-taken'
}

export class OverlayDeviceTarget implements WatchedTarget<OverlayDeviceRow, OverlayDeviceActual> {
  readonly name = 'overlay device'
  readonly #deps: OverlayDeviceDeps
  #index: number | undefined
  #dsrIndex: number | undefined

  constructor(deps: OverlayDeviceDeps) {
    this.#deps = deps
  }

  /** Of the device as it was seen last. */
  get index(): number | undefined {
    return this.#index
  }

  /** Of the one for direct server return in mode none. */
  get dsrIndex(): number | undefined {
    return this.#dsrIndex
  }

  key({ tunnel }: OverlayDeviceRow): string {
    return tunnel
  }

  /** The mode it is a device of: those of others go (ADR 0045). */
  keyOf({ link }: OverlayDeviceActual): string {
    return modeOf(link)
  }

  /** One UDP port and one name: the device of the other tunnel mode has to go first. */
  claim({ tunnel }: OverlayDeviceRow): string {
    return deviceName(tunnel)
  }

  claimOf({ link }: OverlayDeviceActual): string {
    return deviceName(modeOf(link))
  }

  isEqual(row: OverlayDeviceRow, { link, addresses, isAttached }: OverlayDeviceActual): boolean {
    return (
      isAttached &&
      link.isUp &&
      link.name === deviceName(row.tunnel) &&
      link.alias === OVERLAY_ALIAS &&
      link.mac === row.mac &&
      link.mtu === row.mtu &&
      isUsable(link, row) &&
      isConfigured(this.#deps.datapath.config.value, configOf(row, link.index)) &&
      globalOf(addresses).length === row.addresses.length &&
      row.addresses.every((address) => addresses.some((one) => one.address === address))
    )
  }

  async list(): Promise<OverlayDeviceActual[]> {
    const { netlink, datapath, tunnel } = this.#deps
    const found: OverlayDeviceActual[] = []
    this.#index = undefined
    this.#dsrIndex = undefined
    for (const link of await findOverlayDevices(netlink)) {
      const { index } = link
      const addresses = await netlink.addresses.list({ index })
      const isAttached = modeOf(link) !== 'bpf' || (await datapath.isOverlayAttached(link))
      if (modeOf(link) === tunnel) this.#index = index
      else if (tunnel === 'none' && modeOf(link) === 'bpf') this.#dsrIndex = index
      found.push({ link, addresses, isAttached })
    }
    return found
  }

  async update(row: OverlayDeviceRow): Promise<void> {
    const { netlink, settings, datapath } = this.#deps
    const name = deviceName(row.tunnel)
    const link = await this.#ensure(row)
    const { index } = link
    const isForDsr = row.tunnel === 'bpf' && row.isForDsr === true
    if (isForDsr) this.#dsrIndex = index
    else this.#index = index
    settleDevice(settings, name)
    if (row.tunnel === 'bpf') await datapath.attachOverlay({ name, index })
    if (link.alias !== OVERLAY_ALIAS) await netlink.links.set(index, { alias: OVERLAY_ALIAS })
    if (link.mac !== row.mac) await netlink.links.set(index, { mac: row.mac })
    if (link.mtu !== row.mtu) await netlink.links.set(index, { mtu: row.mtu })
    datapath.config.changeWays(configOf(row, index))
    if (!isForDsr) datapath.setOwnAddresses(row.addresses)
    await netlink.links.set(index, { isUp: true })
    for (const address of row.addresses) {
      const prefixLen = hostPrefixLen(address)
      await netlink.addresses.replace({
        index,
        address,
        prefixLen,
        flags: ['nodad', 'noprefixroute'],
      })
    }
    const present = await netlink.addresses.list({ index })
    for (const { address, prefixLen } of globalOf(present)) {
      if (!row.addresses.includes(address))
        await netlink.addresses.del({ index, address, prefixLen })
    }
  }

  async remove({ link }: OverlayDeviceActual): Promise<void> {
    const { datapath } = this.#deps
    if (datapath.config.value.overlayIfindex === link.index) {
      datapath.config.changeWays({ overlayIfindex: 0 })
    }
    await this.#take(link)
    datapath.forgetDevice(link.name)
  }

  async #ensure(row: OverlayDeviceRow): Promise<Link> {
    const { netlink } = this.#deps
    const name = deviceName(row.tunnel)
    const links = await findOverlayDevices(netlink)
    const known = links.find((link) => modeOf(link) === row.tunnel)
    if (known !== undefined && known.name === name && isUsable(known, row)) return known
    if (known !== undefined) await this.#take(known)
    const inTheWay = await netlink.links.get({ name })
    if (inTheWay !== undefined) {
      throw new DeviceTakenError(`a device ${name} exists that is not ours`)
    }
    await netlink.links.add(specOf(row))
    const link = await netlink.links.get({ name })
    if (link === undefined) throw new Error(`${name} vanished as it was made`)
    return link
  }

  /**
   * Its routes go with it, and their packets would take the node's default route until there are others. So they are
   * dropped meanwhile: a connection waits, but for an unreachable it might end.
   */
  async #take({ index }: Link): Promise<void> {
    const { routes, links } = this.#deps.netlink
    for (const { dst, via } of await routes.list({ protocol: ROUTE_PROTOCOL, index })) {
      if (via !== undefined) {
        await routes.replace({ dst, type: 'blackhole', protocol: ROUTE_PROTOCOL })
      }
    }
    await links.del(index)
  }
}

/** By alias; by name only when a crash came between making and marking it, before it was ever up. */
export async function findOverlayDevices(netlink: RouteNetlink): Promise<Link[]> {
  const links = await netlink.links.list()
  const ofKind = links.filter(({ kind }) => kind === 'vxlan' || kind === 'bridge')
  return ofKind.filter((link) => {
    const isUnmarked = link.alias === undefined && !link.isUp
    return link.alias === OVERLAY_ALIAS || (isUnmarked && link.name === deviceName(modeOf(link)))
  })
}

function modeOf({ kind, vxlan }: Link): TunnelMode {
  if (kind !== 'vxlan') return 'none'
  return vxlan?.collectMetadata === true ? 'bpf' : 'kernel'
}

function isConfigured(config: Config, wanted: ReturnType<typeof configOf>): boolean {
  const { flags, ...members } = wanted
  const names = Object.keys(members) as (keyof typeof members)[]
  return (config.flags & WAY_FLAGS) === flags && names.every((n) => config[n] === members[n])
}

function hostPrefixLen(address: string): number {
  return address.includes(':') ? 128 : 32
}

/** The kernel may give the device a link-local address of its own: that is not for us to remove. */
function globalOf<A extends { readonly address: string }>(addresses: readonly A[]): A[] {
  return addresses.filter(({ address }) => !/^fe[89ab]/.test(address))
}
