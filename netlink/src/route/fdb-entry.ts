// Forwarding entries by MAC (`bridge fdb`): behind which port of a bridge, or which tunnel end, a MAC lives.
import type { UnknownAttribute } from '../codec/attrs.ts'

/**
 * 'dynamic' was learned or may age as if it were, 'static' stays. 'permanent' stays too, and on a bridge means the port's own
 * address.
 */
export type FdbState = 'permanent' | 'static' | 'dynamic' | 'stale'

/**
 * Whose table an entry is in: 'self' the device's own (vxlan, macvlan, hardware), 'master' that of the bridge it is a port of.
 */
export type FdbTable = 'self' | 'master'

export interface FdbKey {
  /** Of the vxlan device, or of the port of a bridge. */
  readonly index: number
  readonly mac: string
  /** Absent: 'self'. */
  readonly table?: FdbTable | undefined
  readonly vlan?: number | undefined
  /** Of a vxlan device: the outer destination. */
  readonly dst?: string | undefined
  /** Of a vxlan device, where they are not those of the device. */
  readonly vni?: number | undefined
  /** Of a vxlan device with external control: to whose packets the entry applies. */
  readonly sourceVni?: number | undefined
  readonly port?: number | undefined
  /** The device outer packets leave by. */
  readonly viaIndex?: number | undefined
}

export interface FdbSpec extends FdbKey {
  /** Absent: 'static'. */
  readonly state?: Exclude<FdbState, 'stale'> | undefined
  /** Put there by a control plane: the bridge does not take it for its own learning. */
  readonly isExternal?: boolean | undefined
  /** A next hop object of sort fdb, instead of `dst`. */
  readonly nextHopId?: number | undefined
}

export interface FdbEntry {
  readonly index: number
  readonly mac: string
  readonly table: FdbTable
  readonly state: FdbState
  readonly isExternal: boolean
  readonly masterIndex?: number
  readonly vlan?: number
  readonly dst?: string
  readonly vni?: number
  readonly sourceVni?: number
  readonly port?: number
  readonly viaIndex?: number
  readonly nextHopId?: number
  /** NTF_* and NUD_* bits as they came. */
  readonly flags: number
  readonly stateBits: number
  readonly unknown: readonly UnknownAttribute[]
}

export interface FdbFilter {
  readonly index?: number | undefined
  /** Ports of this bridge. */
  readonly masterIndex?: number | undefined
}
