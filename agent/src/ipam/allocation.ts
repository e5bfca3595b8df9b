// What an attachment is given and what is remembered of it: the rows of address allocation and how they are named.
import { createHash } from 'node:crypto'
import type { Bandwidth } from '../bandwidth/limits.ts'
import type { PortMapping } from '../services/host-port-mappings.ts'
import type { Era } from './era.ts'

/** An attachment: one interface of one container in one network. The same container may have several. */
export interface AttachmentKey {
  readonly network: string
  readonly containerId: string
  readonly ifname: string
}

export interface AllocationRequest {
  readonly key: AttachmentKey
  /** Path of the container's network namespace, as the runtime gave it. */
  readonly netns: string
  /** SO_NETNS_COOKIE of what was at that path: in one boot no other namespace ever has it, whereas paths are used again. */
  readonly netnsCookie?: string
  readonly podNamespace?: string
  readonly podName?: string
  readonly podUid?: string
  /** When the latest ADD of it began; orders it against a queued DEL of the same key. */
  readonly sequence?: Sequence
  /** Addresses it must get, at most one per family, as `parseAsked` gives them; families not named get any. */
  readonly addresses?: readonly string[]
  /** The MAC that the interface must get; without it one is made from the key. */
  readonly mac?: string
  readonly bandwidth?: Bandwidth
  /** Ports of the node that lead to it; never an empty list. */
  readonly portMappings?: readonly PortMapping[]
}

/** Microseconds of CLOCK_BOOTTIME within one boot. */
export interface Sequence {
  readonly bootId: string
  readonly bootTimeUs: number
}

export interface Allocation extends AllocationRequest {
  /** Canonical text, one per family the node has a range for, in the order of the ranges. */
  readonly addresses: readonly string[]
  /** Small; unique among live attachments, and used again only after all others have been. */
  readonly endpointId: number
  /** 32 bits; never the same twice on this node, so that nothing remembered of an address outlives its owner. */
  readonly incarnation: number
  /** Name of the interface's end in the node's namespace. */
  readonly hostDevice: string
  /** ISO 8601. */
  readonly createdAt: string
  /** Where its latest ADD ran. */
  readonly era?: Era
}

/** One string for a key; the separator occurs in none of the parts (the CNI specification allows letters, digits, `_.-`). */
export function keyText({ network, containerId, ifname }: AttachmentKey): string {
  return `${network}/${containerId}/${ifname}`
}

/** 13 base32 characters, 65 bits, of the key: names the record's file and the host device. */
export function keyDigest(key: AttachmentKey): string {
  const digest = createHash('sha256')
    .update(JSON.stringify(Object.values(ordered(key))))
    .digest()
  let bits = digest.readBigUInt64BE(0) * 2n + BigInt((digest[8] ?? 0) >> 7)
  let text = ''
  for (let index = 0; index < 13; index++) {
    text = BASE32[Number(bits & 31n)] + text
    bits >>= 5n
  }
  return text
}

/** 15 characters, which is all the kernel has room for. */
export function hostDeviceOf(key: AttachmentKey): string {
  return `sb${keyDigest(key)}`
}

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567'

function ordered({ network, containerId, ifname }: AttachmentKey): AttachmentKey {
  return { network, containerId, ifname }
}
