// RTA_VIA: a gateway with its own family in front, for routes of one family over a gateway of the other.
import { type Codec, ip } from '../codec/codec.ts'
import { AF_INET, AF_INET6 } from './constants.ts'

export const via: Codec<string> = {
  encode(writer, address) {
    writer.u16(address.includes(':') ? AF_INET6 : AF_INET)
    ip.encode(writer, address)
  },
  decode(reader) {
    reader.skip(2)
    return ip.decode(reader)
  },
}

/** The attributes of a gateway: RTA_GATEWAY has no family, so it can only be the route's own. */
export function gatewayAttrs(
  address: string | undefined,
  family: 4 | 6,
): { readonly gateway?: string; readonly via?: string } {
  if (address === undefined) return {}
  return address.includes(':') === (family === 6) ? { gateway: address } : { via: address }
}
