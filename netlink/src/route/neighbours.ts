// Verbs on neighbour entries: list, replace, del.
import { isCode } from '../error.ts'
import type { DecodeMessage, Request, Requests } from '../requests.ts'
import { NLM_F_CREATE, NLM_F_REPLACE } from '../socket-constants.ts'
import { AF_UNSPEC, addressFamily, RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH } from './constants.ts'
import type { Neighbour, NeighbourFilter, NeighbourKey, NeighbourSpec } from './neighbour.ts'
import {
  decodeNeighbour,
  type NeighbourBody,
  neighbourFlagMask,
  neighbourKeyToWire,
  neighbourMessage,
  neighbourSpecToWire,
} from './neighbour-message.ts'

export class Neighbours {
  readonly #requests: Requests

  constructor(requests: Requests) {
    this.#requests = requests
  }

  async list(filter: NeighbourFilter = {}): Promise<Neighbour[]> {
    return this.#requests.dump(...listRequest(filter))
  }

  /** The same one by one, without ever holding them all. */
  stream(filter: NeighbourFilter = {}): AsyncGenerator<Neighbour, void, undefined> {
    return this.#requests.stream(...listRequest(filter))
  }

  /** Adds the entry or gives the one that is there this MAC and state. */
  async replace(spec: NeighbourSpec): Promise<void> {
    const message = neighbourSpecToWire(spec)
    const flags = NLM_F_CREATE | NLM_F_REPLACE
    await this.#requests.change(request(RTM_NEWNEIGH, 'RTM_NEWNEIGH', message, spec, flags))
  }

  /** False when it, or its device, was not there. */
  async del(key: NeighbourKey): Promise<boolean> {
    const message = neighbourKeyToWire(key)
    try {
      await this.#requests.change(request(RTM_DELNEIGH, 'RTM_DELNEIGH', message, key))
      return true
    } catch (error) {
      if (isCode(error, 'ENOENT', 'ENODEV')) return false
      throw error
    }
  }
}

function listRequest({
  index,
  family,
  isProxy = false,
}: NeighbourFilter): [Request, DecodeMessage<Neighbour>] {
  const message: NeighbourBody = {
    header: {
      family: family === undefined ? AF_UNSPEC : addressFamily(family),
      index: 0,
      state: 'none',
      flags: neighbourFlagMask(isProxy ? ['proxy'] : []),
      type: 0,
    },
    attrs: { index },
  }
  return [
    request(RTM_GETNEIGH, 'RTM_GETNEIGH', message),
    (header, payload) => {
      const entry = header.type === RTM_NEWNEIGH ? decodeNeighbour(payload) : undefined
      // Kernels before 4.20 list every device.
      return index === undefined || entry?.index === index ? entry : undefined
    },
  ]
}

function request(
  type: number,
  op: string,
  message: NeighbourBody,
  key?: NeighbourKey,
  flags = 0,
): Request {
  return {
    type,
    op,
    flags,
    ...(key === undefined ? {} : { subject: `neighbour ${key.address} on link #${key.index}` }),
    encode: (writer) => neighbourMessage.encode(writer, message),
  }
}
