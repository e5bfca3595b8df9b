// Addresses in packets: text to bytes and back.
import { formatIp, formatMac, parseIp, parseMac } from '@sinabro/node-netlink'

export function macBytes(text: string): Uint8Array {
  return parseMac(text)
}

export function macText(bytes: Uint8Array): string {
  return formatMac(bytes)
}

/** @throws RangeError if the text is of the other family */
export function ipBytes(text: string, family: 4 | 6): Uint8Array {
  const ip = parseIp(text)
  if (ip.family !== family) throw new RangeError(`expected an IPv${family} address, found ${text}`)
  return ip.bytes
}

export function ipText(bytes: Uint8Array): string {
  return formatIp(bytes.slice())
}

export function familyOf(text: string): 4 | 6 {
  return parseIp(text).family
}

export function hex(value: number, digits: number): string {
  return `0x${value.toString(16).padStart(digits, '0')}`
}
