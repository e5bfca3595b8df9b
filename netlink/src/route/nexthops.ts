// Verbs on next hop objects: list, get, add, replace, del.
import { isCode } from '../error.ts'
import type { Request, Requests } from '../requests.ts'
import { NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from '../socket-constants.ts'
import { RTM_DELNEXTHOP, RTM_GETNEXTHOP, RTM_NEWNEXTHOP } from './constants.ts'
import type { Nexthop, NexthopFilter, NexthopSpec } from './nexthop.ts'
import {
  decodeNexthop,
  type NexthopBody,
  nexthopHeader,
  nexthopMessage,
  nexthopSpecToWire,
} from './nexthop-message.ts'

export class Nexthops {
  readonly #requests: Requests

  constructor(requests: Requests) {
    this.#requests = requests
  }

  /** In the order of their ids. */
  async list({ index, protocol, isGroup, isFdb }: NexthopFilter = {}): Promise<Nexthop[]> {
    const message: NexthopBody = {
      header: nexthopHeader(),
      attrs: { index, groups: isGroup || undefined, fdb: isFdb || undefined },
    }
    return this.#requests.dump(
      request(RTM_GETNEXTHOP, 'RTM_GETNEXTHOP', message),
      (header, payload) => {
        if (header.type !== RTM_NEWNEXTHOP) return undefined
        const nexthop = decodeNexthop(payload)
        const isWanted =
          (index === undefined || nexthop.index === index) &&
          (protocol === undefined || nexthop.protocol === protocol) &&
          (isGroup === undefined || (nexthop.group !== undefined) === isGroup) &&
          (isFdb === undefined || nexthop.isFdb === isFdb)
        return isWanted ? nexthop : undefined
      },
    )
  }

  /** Undefined when there is none. */
  async get(id: number): Promise<Nexthop | undefined> {
    const message = { header: nexthopHeader(), attrs: { id } }
    try {
      return await this.#requests.reply(
        request(RTM_GETNEXTHOP, 'RTM_GETNEXTHOP', message, id),
        (header, payload) => (header.type === RTM_NEWNEXTHOP ? decodeNexthop(payload) : undefined),
      )
    } catch (error) {
      if (isCode(error, 'ENOENT')) return undefined
      throw error
    }
  }

  /** EEXIST when there is one with this id. */
  async add(spec: NexthopSpec): Promise<void> {
    await this.#new(spec, NLM_F_CREATE | NLM_F_EXCL)
  }

  /** Exchanges the one with this id in one step: all routes that name it take the new way. A group cannot become a single one. */
  async replace(spec: NexthopSpec): Promise<void> {
    await this.#new(spec, NLM_F_CREATE | NLM_F_REPLACE)
  }

  /** False when it was not there. Routes that name it go with it; groups lose a member. */
  async del(id: number): Promise<boolean> {
    const message = { header: nexthopHeader(), attrs: { id } }
    try {
      await this.#requests.change(request(RTM_DELNEXTHOP, 'RTM_DELNEXTHOP', message, id))
      return true
    } catch (error) {
      if (isCode(error, 'ENOENT')) return false
      throw error
    }
  }

  async #new(spec: NexthopSpec, flags: number): Promise<void> {
    const message = nexthopSpecToWire(spec)
    await this.#requests.change(request(RTM_NEWNEXTHOP, 'RTM_NEWNEXTHOP', message, spec.id, flags))
  }
}

function request(type: number, op: string, message: NexthopBody, id?: number, flags = 0): Request {
  return {
    type,
    op,
    flags,
    ...(id === undefined ? {} : { subject: `next hop ${id}` }),
    encode: (writer) => nexthopMessage.encode(writer, message),
  }
}
