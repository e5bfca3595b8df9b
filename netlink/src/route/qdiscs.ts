// Verbs on queueing disciplines: list, replace, del.
import { isCode } from '../error.ts'
import type { Request, Requests } from '../requests.ts'
import { NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from '../socket-constants.ts'
import { RTM_DELQDISC, RTM_GETQDISC, RTM_NEWQDISC } from './constants.ts'
import type { Qdisc, QdiscFilter, QdiscKey, QdiscSpec } from './traffic.ts'
import {
  decodeQdisc,
  qdiscKeyToWire,
  qdiscSpecToWire,
  type TrafficBody,
  trafficHeader,
  trafficMessage,
} from './traffic-message.ts'

export class Qdiscs {
  readonly #requests: Requests

  constructor(requests: Requests) {
    this.#requests = requests
  }

  async list({ index }: QdiscFilter = {}): Promise<Qdisc[]> {
    const message = { header: trafficHeader({}), attrs: {} }
    return this.#requests.dump(
      request(RTM_GETQDISC, 'RTM_GETQDISC', message),
      (header, payload) => {
        if (header.type !== RTM_NEWQDISC) return undefined
        const qdisc = decodeQdisc(payload)
        return index === undefined || qdisc.index === index ? qdisc : undefined
      },
    )
  }

  /**
   * Makes it so. A clsact or ingress that is there stays with its filters, EEXIST when the other of the two sits in its place. A
   * tbf takes on the new numbers without losing a packet. An htb that is there stays with its classes, and is EINVAL when its
   * default class would have to change.
   */
  async replace(spec: QdiscSpec): Promise<void> {
    const isHook = spec.kind === 'clsact' || spec.kind === 'ingress'
    const flags = NLM_F_CREATE | (isHook ? NLM_F_EXCL : NLM_F_REPLACE)
    const message = qdiscSpecToWire(spec)
    try {
      await this.#requests.change(request(RTM_NEWQDISC, 'RTM_NEWQDISC', message, spec, flags))
    } catch (error) {
      if (!isCode(error, 'EEXIST', 'EINVAL') || !(await this.#isThere(spec))) throw error
    }
  }

  /** False when it, or its device, was not there. Its filters and classes go with it, whoever put them there. */
  async del(key: QdiscKey): Promise<boolean> {
    const message = qdiscKeyToWire(key)
    try {
      await this.#requests.change(request(RTM_DELQDISC, 'RTM_DELQDISC', message, key))
      return true
    } catch (error) {
      if (isCode(error, 'ENOENT', 'ENODEV')) return false
      // Linux before 5.0 says EINVAL for a qdisc that is not there, and newer ones for one of another kind.
      if (isCode(error, 'EINVAL') && !(await this.#has(key))) return false
      throw error
    }
  }

  async #has({ index, kind }: QdiscKey): Promise<boolean> {
    return (await this.list({ index })).some((qdisc) => qdisc.kind === kind)
  }

  /** What cannot be changed, and need not be. */
  async #isThere(spec: QdiscSpec): Promise<boolean> {
    switch (spec.kind) {
      case 'clsact':
      case 'ingress':
        return this.#has(spec)
      case 'htb': {
        const { handle, defaultClass = 0 } = spec
        const list = await this.list({ index: spec.index })
        return list.some(
          ({ htb, ...qdisc }) => qdisc.handle === handle && htb?.defaultClass === defaultClass,
        )
      }
      case 'tbf':
        return false
    }
  }
}

function request(
  type: number,
  op: string,
  message: TrafficBody,
  key?: QdiscKey,
  flags = 0,
): Request {
  return {
    type,
    op,
    flags,
    ...(key === undefined ? {} : { subject: `${key.kind} on link #${key.index}` }),
    encode: (writer) => trafficMessage.encode(writer, message),
  }
}
