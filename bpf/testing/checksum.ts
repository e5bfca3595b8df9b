// The Internet checksum (RFC 1071), over any number of pieces as if they were one.

/** Every piece but the last has an even length. */
export function internetChecksum(...pieces: readonly Uint8Array[]): number {
  let sum = 0
  for (const piece of pieces) {
    for (let i = 0; i < piece.length; i += 2) {
      sum += ((piece[i] ?? 0) << 8) | (piece[i + 1] ?? 0)
    }
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

/** The pseudo header of RFC 768 and RFC 8200 §8.1, for addresses of 4 or 16 bytes. */
export function pseudoHeader(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  length: number,
): Uint8Array {
  const header = new Uint8Array(source.length + destination.length + 8)
  header.set(source)
  header.set(destination, source.length)
  const view = new DataView(header.buffer)
  view.setUint32(header.length - 8, length)
  view.setUint32(header.length - 4, protocol)
  return header
}
