// Addresses of devices as this package shows them.
import type { UnknownAttribute } from '../codec/attrs.ts'

/** Reach of an address or route; numbers without a name stay numbers. */
export type Scope = 'global' | 'site' | 'link' | 'host' | 'nowhere'

export type AddressFlag =
  | 'secondary'
  | 'nodad'
  | 'optimistic'
  | 'dadfailed'
  | 'homeaddress'
  | 'deprecated'
  | 'tentative'
  | 'permanent'
  | 'managetempaddr'
  | 'noprefixroute'
  | 'mcautojoin'
  | 'stable-privacy'

interface AddressIdentity {
  /** Of the device. */
  readonly index: number
  readonly address: string
  readonly prefixLen: number
  /** The other end of a point-to-point address. */
  readonly peer?: string | undefined
}

export interface Address extends AddressIdentity {
  readonly family: 4 | 6
  readonly scope: Scope | number
  readonly flags: readonly AddressFlag[]
  readonly label?: string
  readonly broadcast?: string
  /** Metric of the route that comes with the prefix. */
  readonly metric?: number
  /** IFAPROT_*: 1 loopback, 2 router advertisement, 3 link-local. Linux 5.18 and newer. */
  readonly protocol?: number
  /** Absent: for ever. */
  readonly validSec?: number
  readonly preferredSec?: number
  readonly unknown: readonly UnknownAttribute[]
}

export interface AddressSpec extends AddressIdentity {
  readonly scope?: Scope | undefined
  /** 'nodad' (IPv6): use the address at once. 'noprefixroute': no route for the prefix. */
  readonly flags?: readonly AddressFlag[] | undefined
  readonly label?: string | undefined
  readonly broadcast?: string | undefined
  readonly metric?: number | undefined
  readonly protocol?: number | undefined
  readonly validSec?: number | undefined
  readonly preferredSec?: number | undefined
}

export type AddressKey = AddressIdentity

export interface AddressFilter {
  readonly index?: number | undefined
  readonly family?: 4 | 6 | undefined
}
