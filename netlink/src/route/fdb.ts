// Verbs on forwarding entries of bridges and vxlan devices: list, stream, replace, append, del.
import { isCode } from '../error.ts'
import type { DecodeMessage, Request, Requests } from '../requests.ts'
import { NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE } from '../socket-constants.ts'
import { RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH } from './constants.ts'
import type { FdbEntry, FdbFilter, FdbKey, FdbSpec } from './fdb-entry.ts'
import {
  decodeFdbEntry,
  type FdbBody,
  fdbKeyToWire,
  fdbListToWire,
  fdbMessage,
  fdbSpecToWire,
} from './fdb-message.ts'

export class Fdb {
  readonly #requests: Requests

  constructor(requests: Requests) {
    this.#requests = requests
  }

  async list(filter: FdbFilter = {}): Promise<FdbEntry[]> {
    try {
      return await this.#requests.dump(...listRequest(filter))
    } catch (error) {
      // Of a device that is gone.
      if (isCode(error, 'ENODEV')) return []
      throw error
    }
  }

  /** The same one by one, without ever holding them all. */
  stream(filter: FdbFilter = {}): AsyncGenerator<FdbEntry, void, undefined> {
    return this.#requests.stream(...listRequest(filter))
  }

  /** Adds the entry, or gives the MAC this one destination or port in place of what it had. */
  async replace(spec: FdbSpec): Promise<void> {
    await this.#new(spec, NLM_F_CREATE | NLM_F_REPLACE)
  }

  /**
   * Of a vxlan device: one more destination of the same MAC, which for 00:00:00:00:00:00 (all that is not known) or a multicast
   * MAC means a copy to each. EEXIST when it has that destination.
   */
  async append(spec: FdbSpec): Promise<void> {
    await this.#new(spec, NLM_F_CREATE | NLM_F_APPEND)
  }

  /**
   * False when it, or its device, was not there. Without `dst` a vxlan device forgets every destination of the MAC; with one that
   * the MAC does not have, the kernel calls it a success.
   */
  async del(key: FdbKey): Promise<boolean> {
    const message = fdbKeyToWire(key)
    try {
      await this.#requests.change(request(RTM_DELNEIGH, 'RTM_DELNEIGH', message, key))
      return true
    } catch (error) {
      if (isCode(error, 'ENOENT', 'ENODEV')) return false
      throw error
    }
  }

  async #new(spec: FdbSpec, flags: number): Promise<void> {
    const message = fdbSpecToWire(spec)
    await this.#requests.change(request(RTM_NEWNEIGH, 'RTM_NEWNEIGH', message, spec, flags))
  }
}

function listRequest(filter: FdbFilter): [Request, DecodeMessage<FdbEntry>] {
  const { index, masterIndex } = filter
  return [
    request(RTM_GETNEIGH, 'RTM_GETNEIGH', fdbListToWire(filter)),
    (header, payload) => {
      const entry = header.type === RTM_NEWNEIGH ? decodeFdbEntry(payload) : undefined
      // Kernels before 5.0 list every device; a bridge itself counts as its own.
      if (index !== undefined && entry?.index !== index) return undefined
      const isOfMaster = entry?.masterIndex === masterIndex || entry?.index === masterIndex
      return masterIndex !== undefined && !isOfMaster ? undefined : entry
    },
  ]
}

function request(type: number, op: string, message: FdbBody, key?: FdbKey, flags = 0): Request {
  return {
    type,
    op,
    flags,
    ...(key === undefined ? {} : { subject: `fdb entry ${key.mac} on link #${key.index}` }),
    encode: (writer) => fdbMessage.encode(writer, message),
  }
}
