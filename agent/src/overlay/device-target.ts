// This node's end of the overlay as a reconciler's target: the VXLAN device, its addresses, its programs and what they know of it.
import { CONFIG_READY, CONFIG_TUNNEL_IPV6, type Config } from '@sinabro/libbpf-ts/layouts'
import type { Link, RouteNetlink } from '@sinabro/node-netlink'
import type { Datapath } from '../datapath/datapath.ts'
import type { KernelSettings } from '../kernel-settings.ts'
import { OVERLAY_ALIAS, OVERLAY_DEVICE } from '../marks.ts'
import { settleDevice } from './settings.ts'
import type { WatchedTarget } from './watched.ts'

export interface OverlayDeviceRow {
  readonly mac: string
  readonly mtu: number
  /** Outer UDP port. */
  readonly port: number
  readonly vni: number
  /** Outer source address. */
  readonly tunnelAddress: string
  /** The node's own addresses in the pod network. */
  readonly addresses: readonly string[]
}

export interface OverlayDeviceActual {
  readonly link: Link
  readonly addresses: readonly { readonly address: string; readonly prefixLen: number }[]
  readonly isAttached: boolean
}

export interface OverlayDeviceDeps {
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

  constructor(deps: OverlayDeviceDeps) {
    this.#deps = deps
  }

  /** Of the device as it was seen last. */
  get index(): number | undefined {
    return this.#index
  }

  key(): string {
    return OVERLAY_DEVICE
  }

  keyOf(): string {
    return OVERLAY_DEVICE
  }

  isEqual(row: OverlayDeviceRow, { link, addresses, isAttached }: OverlayDeviceActual): boolean {
    const { value } = this.#deps.datapath.config
    return (
      isAttached &&
      link.isUp &&
      link.name === OVERLAY_DEVICE &&
      link.alias === OVERLAY_ALIAS &&
      link.mac === row.mac &&
      link.mtu === row.mtu &&
      isUsable(link, row) &&
      value.overlayIfindex === link.index &&
      isConfigured(value, row) &&
      globalOf(addresses).length === row.addresses.length &&
      row.addresses.every((address) => addresses.some((one) => one.address === address))
    )
  }

  async list(): Promise<OverlayDeviceActual[]> {
    const { netlink, datapath } = this.#deps
    const link = await findOverlayDevice(netlink)
    this.#index = link?.index
    if (link === undefined) return []
    const addresses = await netlink.addresses.list({ index: link.index })
    return [{ link, addresses, isAttached: await datapath.isOverlayAttached(link) }]
  }

  async update(row: OverlayDeviceRow): Promise<void> {
    const { netlink, settings, datapath } = this.#deps
    const link = await this.#ensure(row)
    const { index } = link
    this.#index = index
    settleDevice(settings, OVERLAY_DEVICE)
    await datapath.attachOverlay({ name: OVERLAY_DEVICE, index })
    if (link.alias !== OVERLAY_ALIAS) await netlink.links.set(index, { alias: OVERLAY_ALIAS })
    if (link.mac !== row.mac) await netlink.links.set(index, { mac: row.mac })
    if (link.mtu !== row.mtu) await netlink.links.set(index, { mtu: row.mtu })
    datapath.config.change({ overlayIfindex: index, ...tunnelConfig(row) })
    datapath.setOwnAddresses(row.addresses)
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
    const { netlink, datapath } = this.#deps
    datapath.config.change({ overlayIfindex: 0 })
    datapath.setOwnAddresses([])
    await netlink.links.del(link.index)
    datapath.forgetDevice(OVERLAY_DEVICE)
  }

  async #ensure(row: OverlayDeviceRow): Promise<Link> {
    const { netlink } = this.#deps
    const known = await findOverlayDevice(netlink)
    if (known !== undefined && known.name === OVERLAY_DEVICE && isUsable(known, row)) return known
    if (known !== undefined) await netlink.links.del(known.index)
    const inTheWay = await netlink.links.get({ name: OVERLAY_DEVICE })
    if (inTheWay !== undefined) {
      throw new DeviceTakenError(`a device ${OVERLAY_DEVICE} exists that is not ours`)
    }
    await netlink.links.add({
      kind: 'vxlan',
      name: OVERLAY_DEVICE,
      alias: OVERLAY_ALIAS,
      addrGenMode: 'none',
      mac: row.mac,
      mtu: row.mtu,
      port: row.port,
      collectMetadata: true,
      learning: false,
      isUp: false,
    })
    const link = await netlink.links.get({ name: OVERLAY_DEVICE })
    if (link === undefined) throw new Error(`${OVERLAY_DEVICE} vanished as it was made`)
    return link
  }
}

/** By alias; by name only when a crash came between making and marking it, before it was ever up. */
export async function findOverlayDevice(netlink: RouteNetlink): Promise<Link | undefined> {
  const links = await netlink.links.list({ kind: 'vxlan' })
  return (
    links.find(({ alias }) => alias === OVERLAY_ALIAS) ??
    links.find(({ name, alias, isUp }) => name === OVERLAY_DEVICE && alias === undefined && !isUp)
  )
}

/** What cannot be changed on a living VXLAN device. */
function isUsable(link: Link, row: OverlayDeviceRow): boolean {
  return link.vxlan?.collectMetadata === true && link.vxlan.port === row.port
}

function isConfigured(config: Config, row: OverlayDeviceRow): boolean {
  const { flags, ...members } = tunnelConfig(row)
  const names = Object.keys(members) as (keyof typeof members)[]
  return (config.flags & ~CONFIG_READY) === flags && names.every((n) => config[n] === members[n])
}

function tunnelConfig({ mac, vni, port, tunnelAddress }: OverlayDeviceRow) {
  const isIpv6 = tunnelAddress.includes(':')
  return {
    flags: isIpv6 ? CONFIG_TUNNEL_IPV6 : 0,
    overlayMac: mac,
    tunnelPort: port,
    vni,
    tunnelLocal4: isIpv6 ? '::' : tunnelAddress,
    tunnelLocal6: isIpv6 ? tunnelAddress : '::',
  }
}

function hostPrefixLen(address: string): number {
  return address.includes(':') ? 128 : 32
}

/** The kernel may give the device a link-local address of its own: that is not for us to remove. */
function globalOf<A extends { readonly address: string }>(addresses: readonly A[]): A[] {
  return addresses.filter(({ address }) => !/^fe[89ab]/.test(address))
}
