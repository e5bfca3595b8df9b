// RTM_*ADDR on the wire (struct ifaddrmsg and IFA_*), and how it becomes an Address.
import { attrs, NO_UNKNOWN } from '../codec/attrs.ts'
import { body } from '../codec/body.ts'
import { type Infer, ip, named, text, u8, u32 } from '../codec/codec.ts'
import type { Reader } from '../codec/reader.ts'
import { struct } from '../codec/struct.ts'
import { canonicalIp, parseIp } from '../ip.ts'
import type { Address, AddressFlag, AddressKey, AddressSpec } from './address.ts'
import { compact } from './compact.ts'
import { addressFamily, ipFamily, scopes } from './constants.ts'

const FOR_EVER = 0xffff_ffff

/** IFA_F_* of linux/if_addr.h. */
const flagBits: readonly (readonly [AddressFlag, number])[] = [
  ['secondary', 0x01],
  ['nodad', 0x02],
  ['optimistic', 0x04],
  ['dadfailed', 0x08],
  ['homeaddress', 0x10],
  ['deprecated', 0x20],
  ['tentative', 0x40],
  ['permanent', 0x80],
  ['managetempaddr', 0x100],
  ['noprefixroute', 0x200],
  ['mcautojoin', 0x400],
  ['stable-privacy', 0x800],
]

const scope = named(u8, scopes)

const ifaddrmsg = struct('ifaddrmsg', {
  family: u8,
  prefixLen: u8,
  /** The low eight flags; IFA_FLAGS has all. */
  flags: u8,
  scope,
  index: u32,
})

/** IFA_* of linux/if_addr.h. */
export const addressAttrs = attrs('address', {
  address: [1, ip],
  local: [2, ip],
  label: [3, text(15)],
  broadcast: [4, ip],
  lifetime: [
    6,
    struct('ifa_cacheinfo', { preferredSec: u32, validSec: u32, createdCs: u32, updatedCs: u32 }),
  ],
  flags: [8, u32],
  metric: [9, u32],
  protocol: [11, u8],
})

export const addressMessage = body(ifaddrmsg, addressAttrs)
type AddressBody = Infer<typeof addressMessage>

/** Undefined for what is not IP. */
export function decodeAddress(reader: Reader): Address | undefined {
  const { header, attrs: wire } = addressMessage.decode(reader)
  const family = ipFamily(header.family)
  // IFA_LOCAL is the device's own; where it is missing (most of IPv6), IFA_ADDRESS is.
  const address = wire.local ?? wire.address
  if (family === undefined || address === undefined) return undefined
  return compact({
    family,
    index: header.index,
    address,
    prefixLen: header.prefixLen,
    peer: wire.address === address ? undefined : wire.address,
    scope: header.scope,
    flags: flagNames(wire.flags ?? header.flags),
    label: wire.label,
    broadcast: wire.broadcast,
    metric: wire.metric,
    protocol: wire.protocol,
    validSec: finite(wire.lifetime?.validSec),
    preferredSec: finite(wire.lifetime?.preferredSec),
    unknown: wire.unknown ?? NO_UNKNOWN,
  })
}

export function addressSpecToWire(spec: AddressSpec): AddressBody {
  const { validSec, preferredSec } = spec
  const identity = addressKeyToWire(spec)
  const hasLifetime = validSec !== undefined || preferredSec !== undefined
  return {
    header: { ...identity.header, scope: spec.scope ?? defaultScope(spec) },
    attrs: {
      ...identity.attrs,
      label: spec.label,
      broadcast: spec.broadcast,
      metric: spec.metric,
      protocol: spec.protocol,
      flags: spec.flags === undefined ? undefined : flagMask(spec.flags),
      lifetime: hasLifetime
        ? {
            validSec: validSec ?? FOR_EVER,
            preferredSec: preferredSec ?? validSec ?? FOR_EVER,
            createdCs: 0,
            updatedCs: 0,
          }
        : undefined,
    },
  }
}

export function addressKeyToWire({ index, address, prefixLen, peer }: AddressKey): AddressBody {
  const { family, bytes } = parseIp(address)
  if (!Number.isInteger(prefixLen) || prefixLen < 0 || prefixLen > bytes.length * 8) {
    throw new RangeError(`prefix length ${prefixLen} of ${address}`)
  }
  return {
    header: { family: addressFamily(family), prefixLen, flags: 0, scope: 'global', index },
    attrs: { local: canonicalIp(address), address: peer ?? address },
  }
}

/** The kernel leaves IPv4 scopes to whoever adds; 127.0.0.0/8 is only ever this host's. IPv6 it knows by itself. */
function defaultScope({ address }: AddressSpec): 'global' | 'host' {
  return address.startsWith('127.') ? 'host' : 'global'
}

function finite(seconds: number | undefined): number | undefined {
  return seconds === FOR_EVER ? undefined : seconds
}

function flagNames(mask: number): AddressFlag[] {
  return flagBits.filter(([, bit]) => (mask & bit) !== 0).map(([name]) => name)
}

function flagMask(names: readonly AddressFlag[]): number {
  return flagBits.reduce((mask, [name, bit]) => (names.includes(name) ? mask | bit : mask), 0)
}
