// Verbs on queueing disciplines: list, replace, del. Of the kinds only clsact is made here.
import { isCode } from '../error.ts'
import type { Request, Requests } from '../requests.ts'
import { NLM_F_CREATE, NLM_F_EXCL } from '../socket-constants.ts'
import { RTM_DELQDISC, RTM_GETQDISC, RTM_NEWQDISC } from './constants.ts'
import type { Qdisc, QdiscFilter, QdiscSpec } from './traffic.ts'
import {
  CLSACT_HANDLE,
  decodeQdisc,
  TC_H_CLSACT,
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

  /** Makes it, or leaves the clsact that is there with its filters. EEXIST when another kind (ingress) sits in its place. */
  async replace(spec: QdiscSpec): Promise<void> {
    const flags = NLM_F_CREATE | NLM_F_EXCL
    try {
      await this.#requests.change(request(RTM_NEWQDISC, 'RTM_NEWQDISC', clsact(spec), spec, flags))
    } catch (error) {
      if (!isCode(error, 'EEXIST') || !(await this.#has(spec))) throw error
    }
  }

  /** False when it, or its device, was not there. Its filters go with it, whoever put them there. */
  async del(spec: QdiscSpec): Promise<boolean> {
    try {
      await this.#requests.change(request(RTM_DELQDISC, 'RTM_DELQDISC', clsact(spec), spec))
      return true
    } catch (error) {
      if (isCode(error, 'ENOENT', 'ENODEV')) return false
      // Linux before 5.0 says EINVAL for a qdisc that is not there as for anything else it does not like.
      if (isCode(error, 'EINVAL') && !(await this.#has(spec))) return false
      throw error
    }
  }

  async #has({ index, kind }: QdiscSpec): Promise<boolean> {
    return (await this.list({ index })).some((qdisc) => qdisc.kind === kind)
  }
}

function clsact({ index, kind }: QdiscSpec): TrafficBody {
  return {
    header: trafficHeader({ index, handle: CLSACT_HANDLE, parent: TC_H_CLSACT }),
    attrs: { kind },
  }
}

function request(
  type: number,
  op: string,
  message: TrafficBody,
  spec?: QdiscSpec,
  flags = 0,
): Request {
  return {
    type,
    op,
    flags,
    ...(spec === undefined ? {} : { subject: `${spec.kind} on link #${spec.index}` }),
    encode: (writer) => trafficMessage.encode(writer, message),
  }
}
