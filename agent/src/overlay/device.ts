// The device of each tunnel mode: how it is made, what of it cannot be changed later, and what the programs are told. Pure.
import { CONFIG_NATIVE, CONFIG_TUNNEL_IPV6, type Config } from '@sinabro/libbpf-ts/layouts'
import type { Link, LinkSpec } from '@sinabro/node-netlink'
import { OVERLAY_ALIAS, OVERLAY_DEVICE, OWN_DEVICE } from '../marks.ts'
import type { Family, TunnelMode } from './rows.ts'

interface DeviceRow {
  readonly mac: string
  readonly mtu: number
  /** The node's own addresses in the pod network. */
  readonly addresses: readonly string[]
}

export interface TunnelDeviceRow extends DeviceRow {
  readonly tunnel: 'bpf' | 'kernel'
  /** Outer UDP port. */
  readonly port: number
  readonly vni: number
  /** Outer source address. */
  readonly tunnelAddress: string
  /** Mode none has it for direct server return alone (ADR 0093). */
  readonly isForDsr?: true
}

export interface OwnDeviceRow extends DeviceRow {
  readonly tunnel: 'none'
  /** Outer UDP port of nodes that have a device for direct server return. */
  readonly port: number
  /** Index of the device that has the address this node is known by. */
  readonly uplink: number
  /** There is a device for direct server return besides, between outer addresses of this family. */
  readonly dsrFamily?: Family
}

export type OverlayDeviceRow = TunnelDeviceRow | OwnDeviceRow

/** As our programs ask for it in mode bpf (ADR 0014): the modes look the same on the wire. */
const OUTER_TTL = 64
/** Of a VXLAN device: that of the packet inside. */
const INHERIT_TOS = 1

export function deviceName(tunnel: TunnelMode): string {
  return tunnel === 'none' ? OWN_DEVICE : OVERLAY_DEVICE
}

export function specOf(row: OverlayDeviceRow): LinkSpec {
  const { mac, mtu } = row
  const common = {
    name: deviceName(row.tunnel),
    alias: OVERLAY_ALIAS,
    addrGenMode: 'none',
    mac,
    mtu,
    isUp: false,
  } as const
  if (row.tunnel === 'none') return { ...common, kind: 'bridge' }
  const vxlan = { ...common, kind: 'vxlan', port: row.port, learning: false } as const
  if (row.tunnel === 'bpf') return { ...vxlan, collectMetadata: true }
  const { vni, tunnelAddress: local } = row
  return { ...vxlan, vni, local, ttl: OUTER_TTL, tos: INHERIT_TOS }
}

/** Whether it differs from the row at most in what can be changed on a living device. */
export function isUsable({ vxlan }: Link, row: OverlayDeviceRow): boolean {
  if (row.tunnel === 'none') return true
  if (vxlan?.port !== row.port) return false
  if (row.tunnel === 'bpf') return vxlan.collectMetadata === true
  return (
    vxlan.vni === row.vni &&
    vxlan.local === row.tunnelAddress &&
    vxlan.learning === false &&
    vxlan.ttl === OUTER_TTL &&
    vxlan.tos === INHERIT_TOS
  )
}

/**
 * What the programs know of the way to other nodes. Without an index of an overlay device the kernel unpacks what comes by the tunnel.
 * Of two devices each row says what is of its own.
 */
export function configOf(row: OverlayDeviceRow, index: number): WayConfig {
  const { mac: overlayMac } = row
  if (row.tunnel === 'none') {
    const { port: tunnelPort, uplink: uplinkIfindex, dsrFamily } = row
    const flags = CONFIG_NATIVE | (dsrFamily === 6 ? CONFIG_TUNNEL_IPV6 : 0)
    const way = { flags, overlayMac, tunnelPort, uplinkIfindex }
    return { ...way, ...(dsrFamily === undefined ? NO_VXLAN : {}) }
  }
  const { vni, port: tunnelPort, tunnelAddress, isForDsr = false } = row
  const isIpv6 = tunnelAddress.includes(':')
  return {
    flags: (isIpv6 ? CONFIG_TUNNEL_IPV6 : 0) | (isForDsr ? CONFIG_NATIVE : 0),
    overlayIfindex: row.tunnel === 'bpf' ? index : 0,
    ...(isForDsr ? {} : { uplinkIfindex: 0 }),
    overlayMac,
    tunnelPort,
    vni,
    tunnelLocal4: isIpv6 ? '::' : tunnelAddress,
    tunnelLocal6: isIpv6 ? tunnelAddress : '::',
  }
}

type WayConfig = Pick<Config, 'flags'> &
  Partial<Omit<Config, 'flags' | 'generation' | 'ownNode' | 'portMin' | 'portMax'>>

const NO_VXLAN = {
  overlayIfindex: 0,
  vni: 0,
  tunnelLocal4: '::',
  tunnelLocal6: '::',
} as const
