// Which addresses one host somewhere may have: what is none of these is nobody's to send to in a Service's name.

/** Four or sixteen bytes, in network order. */
export function isGlobalUnicast(bytes: Uint8Array): boolean {
  return bytes.length === 4 ? isUnicast4(bytes) : isUnicast6(bytes)
}

/** Not this host, loopback, link-local, multicast, and from 240 on reserved with broadcast. */
function isUnicast4([first = 0, second = 0]: Uint8Array): boolean {
  const isLinkLocal = first === 169 && second === 254
  return first !== 0 && first !== 127 && !isLinkLocal && first < 224
}

/** Not unspecified, loopback, IPv4 in disguise, link-local, multicast. */
function isUnicast6(bytes: Uint8Array): boolean {
  const [first = 0, second = 0] = bytes
  const isLinkLocal = first === 0xfe && (second & 0xc0) === 0x80
  if (first === 0xff || isLinkLocal) return false
  if (bytes.subarray(0, 10).some((byte) => byte !== 0)) return true
  const isMapped = bytes[10] === 0xff && bytes[11] === 0xff
  const isZeroOrOne = bytes.subarray(10, 15).every((byte) => byte === 0) && (bytes[15] ?? 0) <= 1
  return !isMapped && !isZeroOrOne
}
