// An allocation as a file: its name and its content, both carrying the addresses, so that a damaged one still tells what it held (ADR 0030).
import { isIP } from 'node:net'
import { type PortMapping, parsePortMappings } from '../services/host-port-mappings.ts'
import { type Allocation, type AttachmentKey, hostDeviceOf, keyDigest } from './allocation.ts'

export const RECORD_VERSION = 1

/** What a record's name alone tells. */
export interface RecordName {
  readonly digest: string
  readonly addresses: readonly string[]
}

export class RecordError extends Error {
  override readonly name = 'RecordError'
  readonly code = 'record-corrupt'
}

/** `<digest of the key>+10.244.1.5+fd00::5.json` */
export function formatRecordName({
  key,
  addresses,
}: Pick<Allocation, 'key' | 'addresses'>): string {
  return `${[keyDigest(key), ...addresses].join('+')}.json`
}

export function parseRecordName(name: string): RecordName | undefined {
  const match = /^([a-z2-7]{13})((?:\+[0-9a-f.:]+)+)\.json$/.exec(name)
  const [, digest, list] = match ?? []
  if (digest === undefined || list === undefined) return undefined
  const addresses = list.slice(1).split('+')
  return addresses.every((address) => isIP(address) !== 0) ? { digest, addresses } : undefined
}

export function encodeRecord(allocation: Allocation): string {
  return `${JSON.stringify({ version: RECORD_VERSION, ...allocation })}\n`
}

/** @throws RecordError naming what is wrong; nothing is filled in or corrected */
export function decodeRecord(name: string, text: string): Allocation {
  const said = parseRecordName(name)
  if (said === undefined) throw new RecordError('its name is not that of a record')
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    throw new RecordError(`not JSON (${Buffer.byteLength(text)} bytes)`)
  }
  const record = object(parsed, 'record')
  if (record.version !== RECORD_VERSION) {
    throw new RecordError(
      `version: expected ${RECORD_VERSION}, found ${JSON.stringify(record.version)}`,
    )
  }
  const key = decodeKey(record.key)
  const addresses = record.addresses
  if (!Array.isArray(addresses) || addresses.join('+') !== said.addresses.join('+')) {
    throw new RecordError('addresses: not those of its name')
  }
  if (keyDigest(key) !== said.digest) throw new RecordError('key: not the one of its name')
  const hostDevice = string(record, 'hostDevice')
  if (hostDevice !== hostDeviceOf(key)) throw new RecordError('hostDevice: not the one of its key')
  return {
    key,
    netns: string(record, 'netns'),
    addresses: said.addresses,
    endpointId: count(record, 'endpointId'),
    incarnation: count(record, 'incarnation'),
    hostDevice,
    createdAt: string(record, 'createdAt'),
    ...optional(record, 'netnsCookie'),
    ...optional(record, 'podNamespace'),
    ...optional(record, 'podName'),
    ...optional(record, 'podUid'),
    ...optional(record, 'mac'),
    ...decodeBandwidth(record.bandwidth),
    ...decodePortMappings(record.portMappings),
    ...decodeSequence(record.sequence),
    ...decodeEra(record.era),
  }
}

function decodeKey(value: unknown): AttachmentKey {
  const key = object(value, 'key')
  return {
    network: string(key, 'network'),
    containerId: string(key, 'containerId'),
    ifname: string(key, 'ifname'),
  }
}

function decodeBandwidth(value: unknown): Pick<Allocation, 'bandwidth'> {
  if (value === undefined) return {}
  const bandwidth = object(value, 'bandwidth')
  return {
    bandwidth: {
      ...decodeLimit(bandwidth, 'ingress'),
      ...decodeLimit(bandwidth, 'egress'),
    },
  }
}

/** Written as runtimes write them. */
function decodePortMappings(value: unknown): { readonly portMappings?: readonly PortMapping[] } {
  if (value === undefined) return {}
  try {
    return { portMappings: parsePortMappings(value) }
  } catch (error) {
    throw new RecordError(`portMappings: ${error instanceof Error ? error.message : error}`)
  }
}

function decodeLimit(bandwidth: Record<string, unknown>, direction: 'ingress' | 'egress') {
  if (bandwidth[direction] === undefined) return {}
  const limit = object(bandwidth[direction], direction)
  const rateBitsPerSec = count(limit, 'rateBitsPerSec')
  return { [direction]: { rateBitsPerSec, burstBits: count(limit, 'burstBits') } }
}

function decodeSequence(value: unknown): Pick<Allocation, 'sequence'> {
  if (value === undefined) return {}
  const sequence = object(value, 'sequence')
  const bootTimeUs = sequence.bootTimeUs
  if (typeof bootTimeUs !== 'number') throw new RecordError('bootTimeUs: expected a number')
  return { sequence: { bootId: string(sequence, 'bootId'), bootTimeUs } }
}

function decodeEra(value: unknown): Pick<Allocation, 'era'> {
  if (value === undefined) return {}
  const era = object(value, 'era')
  return { era: { bootId: string(era, 'bootId'), hostCookie: string(era, 'hostCookie') } }
}

function object(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new RecordError(`${what}: expected an object`)
  }
  return { ...value }
}

function string(from: Record<string, unknown>, member: string): string {
  const value = from[member]
  if (typeof value !== 'string') throw new RecordError(`${member}: expected a string`)
  return value
}

function optional<Name extends string>(
  from: Record<string, unknown>,
  member: Name,
): { [name in Name]?: string } {
  if (from[member] === undefined) return {}
  return { [member]: string(from, member) } as { [name in Name]: string }
}

function count(from: Record<string, unknown>, member: string): number {
  const value = from[member]
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > 0xffffffff) {
    throw new RecordError(`${member}: expected a whole number from 1 to 4294967295`)
  }
  return value
}
