// Verbs on the classes of a qdisc that shares out a rate (htb): list, replace, del.
import { isCode } from '../error.ts'
import type { Request, Requests } from '../requests.ts'
import { NLM_F_CREATE, NLM_F_REPLACE } from '../socket-constants.ts'
import { RTM_DELTCLASS, RTM_GETTCLASS, RTM_NEWTCLASS } from './constants.ts'
import { formatHandle } from './handle.ts'
import type { TrafficClassKey, TrafficClassSpec } from './shaping.ts'
import type { TrafficClass, TrafficClassFilter } from './traffic.ts'
import {
  classKeyToWire,
  classSpecToWire,
  decodeTrafficClass,
  type TrafficBody,
  trafficHeader,
  trafficMessage,
} from './traffic-message.ts'

export class TrafficClasses {
  readonly #requests: Requests

  constructor(requests: Requests) {
    this.#requests = requests
  }

  /** Of one device; empty, too, when there is no such device. */
  async list({ index, parent }: TrafficClassFilter): Promise<TrafficClass[]> {
    const message = { header: trafficHeader({ index }), attrs: {} }
    return this.#requests.dump(
      request(RTM_GETTCLASS, 'RTM_GETTCLASS', message),
      (header, payload) => {
        if (header.type !== RTM_NEWTCLASS) return undefined
        const one = decodeTrafficClass(payload)
        return parent === undefined || one.parent === parent ? one : undefined
      },
    )
  }

  /** Makes it, or gives the one with this handle these numbers. */
  async replace(spec: TrafficClassSpec): Promise<void> {
    const message = classSpecToWire(spec)
    const flags = NLM_F_CREATE | NLM_F_REPLACE
    await this.#requests.change(request(RTM_NEWTCLASS, 'RTM_NEWTCLASS', message, spec, flags))
  }

  /** False when it, its qdisc or its device was not there; EBUSY while it has classes or filters of its own. */
  async del(key: TrafficClassKey): Promise<boolean> {
    const message = classKeyToWire(key)
    try {
      await this.#requests.change(request(RTM_DELTCLASS, 'RTM_DELTCLASS', message, key))
      return true
    } catch (error) {
      if (isCode(error, 'ENOENT', 'ENODEV')) return false
      throw error
    }
  }
}

function request(
  type: number,
  op: string,
  message: TrafficBody,
  key?: TrafficClassKey,
  flags = 0,
): Request {
  return {
    type,
    op,
    flags,
    ...(key === undefined
      ? {}
      : { subject: `class ${formatHandle(key.handle)} on link #${key.index}` }),
    encode: (writer) => trafficMessage.encode(writer, message),
  }
}
