// Packets as they are on the underlay: tcpdump writes them, this reads its file format and takes VXLAN apart. Decoding is pure.
import type { ChildProcess } from 'node:child_process'
import { LabError } from './errors.ts'
import type { Machine } from './machine.ts'

export interface IpPacket {
  readonly family: 4 | 6
  readonly source: string
  readonly target: string
  readonly ttl: number
  /** IANA protocol number. */
  readonly protocol: number
  readonly payload: Buffer
}

export interface Encapsulated {
  readonly outer: IpPacket
  readonly outerBytes: number
  readonly sourcePort: number
  readonly targetPort: number
  readonly vni: number
  readonly innerSourceMac: string
  readonly innerTargetMac: string
  readonly inner: IpPacket
  readonly innerBytes: number
}

const PCAP_HEADER_BYTES = 24
const RECORD_HEADER_BYTES = 16
const PCAP_MAGIC = 0xa1b2c3d4
const ETHERNET_BYTES = 14
const UDP_BYTES = 8
const VXLAN_BYTES = 8
const ETH_P_IP = 0x0800
const ETH_P_IPV6 = 0x86dd
const IPPROTO_UDP = 17
const CAPTURE_DEADLINE_MS = 15_000

/**
 * Captures on one device of a machine while `during` runs, until a frame satisfies `isWanted`, and returns that frame.
 * `filter` is tcpdump's.
 */
export async function captureOne<T>(
  { machine, device, filter }: { machine: Machine; device: string; filter: string },
  isWanted: (frame: Buffer) => T | undefined,
  during: () => Promise<unknown>,
): Promise<T> {
  const child = machine.spawn(
    ['tcpdump', '-i', device, '-n', '-U', '--immediate-mode', '-w', '-', filter],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  promise.catch(() => undefined)
  const timer = setTimeout(() => {
    reject(new LabError('timeout', `no packet of ${filter} on ${device}`))
  }, CAPTURE_DEADLINE_MS)
  let bytes = Buffer.alloc(0)
  child.stdout?.on('data', (part: Buffer) => {
    bytes = Buffer.concat([bytes, part])
    for (const frame of decodePcap(bytes)) {
      const found = isWanted(frame)
      if (found !== undefined) resolve(found)
    }
  })
  try {
    await listening(child)
    await during()
    return await promise
  } finally {
    clearTimeout(timer)
    child.kill('SIGTERM')
  }
}

/** tcpdump says on stderr when it has the device open. */
function listening(child: ChildProcess): Promise<void> {
  let said = ''
  return new Promise((resolve, reject) => {
    child.stderr?.on('data', (part: Buffer) => {
      said += part.toString()
      if (said.includes('listening on')) resolve()
    })
    child.once('error', reject)
    child.once('exit', () => reject(new LabError('command', `tcpdump ended: ${said.trim()}`)))
  })
}

/** The whole frames of a capture that may still be growing. pcap(5), microseconds, byte order of this machine. */
export function decodePcap(bytes: Buffer): Buffer[] {
  if (bytes.length < PCAP_HEADER_BYTES) return []
  const magic = bytes.readUInt32LE(0)
  if (magic !== PCAP_MAGIC) {
    throw new LabError('command', `capture: expected magic a1b2c3d4, found ${magic.toString(16)}`)
  }
  const frames: Buffer[] = []
  let at = PCAP_HEADER_BYTES
  while (at + RECORD_HEADER_BYTES <= bytes.length) {
    const capturedBytes = bytes.readUInt32LE(at + 8)
    const end = at + RECORD_HEADER_BYTES + capturedBytes
    if (end > bytes.length) break
    frames.push(bytes.subarray(at + RECORD_HEADER_BYTES, end))
    at = end
  }
  return frames
}

/** Undefined for what is not an IP packet in VXLAN in UDP. RFC 7348, section 5. */
export function decodeVxlan(frame: Buffer): Encapsulated | undefined {
  const outer = decodeFrame(frame)
  if (outer === undefined || outer.protocol !== IPPROTO_UDP) return undefined
  const udp = outer.payload
  if (udp.length < UDP_BYTES + VXLAN_BYTES + ETHERNET_BYTES) return undefined
  const innerFrame = udp.subarray(UDP_BYTES + VXLAN_BYTES)
  const inner = decodeFrame(innerFrame)
  if (inner === undefined) return undefined
  return {
    outer,
    outerBytes: frame.length,
    sourcePort: udp.readUInt16BE(0),
    targetPort: udp.readUInt16BE(2),
    vni: udp.readUIntBE(UDP_BYTES + 4, 3),
    innerTargetMac: macText(innerFrame.subarray(0, 6)),
    innerSourceMac: macText(innerFrame.subarray(6, 12)),
    inner,
    innerBytes: innerFrame.length,
  }
}

export function decodeFrame(frame: Buffer): IpPacket | undefined {
  if (frame.length < ETHERNET_BYTES) return undefined
  const packet = frame.subarray(ETHERNET_BYTES)
  switch (frame.readUInt16BE(12)) {
    case ETH_P_IP:
      return decodeIpv4(packet)
    case ETH_P_IPV6:
      return decodeIpv6(packet)
    default:
      return undefined
  }
}

function decodeIpv4(packet: Buffer): IpPacket | undefined {
  if (packet.length < 20) return undefined
  const headerBytes = (packet.readUInt8(0) & 0x0f) * 4
  return {
    family: 4,
    source: packet.subarray(12, 16).join('.'),
    target: packet.subarray(16, 20).join('.'),
    ttl: packet.readUInt8(8),
    protocol: packet.readUInt8(9),
    payload: packet.subarray(headerBytes, packet.readUInt16BE(2)),
  }
}

function decodeIpv6(packet: Buffer): IpPacket | undefined {
  if (packet.length < 40) return undefined
  return {
    family: 6,
    source: ipv6Text(packet.subarray(8, 24)),
    target: ipv6Text(packet.subarray(24, 40)),
    ttl: packet.readUInt8(7),
    protocol: packet.readUInt8(6),
    payload: packet.subarray(40, 40 + packet.readUInt16BE(4)),
  }
}

function macText(bytes: Buffer): string {
  return bytes.toString('hex').replace(/..(?!$)/g, '$&:')
}

function ipv6Text(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2).toString(16))
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}
