// Verbs on the addresses of devices: list, replace, del.
import { isCode } from '../error.ts'
import type { Request, Requests } from '../requests.ts'
import { NLM_F_CREATE, NLM_F_REPLACE } from '../socket-constants.ts'
import type { Address, AddressFilter, AddressKey, AddressSpec } from './address.ts'
import {
  addressKeyToWire,
  addressMessage,
  addressSpecToWire,
  decodeAddress,
} from './address-message.ts'
import { AF_UNSPEC, addressFamily, RTM_DELADDR, RTM_GETADDR, RTM_NEWADDR } from './constants.ts'

export class Addresses {
  readonly #requests: Requests

  constructor(requests: Requests) {
    this.#requests = requests
  }

  async list({ index, family }: AddressFilter = {}): Promise<Address[]> {
    const header = {
      family: family === undefined ? AF_UNSPEC : addressFamily(family),
      prefixLen: 0,
      flags: 0,
      scope: 0,
      index: index ?? 0,
    }
    const request: Request = {
      type: RTM_GETADDR,
      op: 'RTM_GETADDR',
      encode: (writer) => addressMessage.encode(writer, { header, attrs: {} }),
    }
    try {
      return await this.#requests.dump(request, (message, payload) => {
        const address = message.type === RTM_NEWADDR ? decodeAddress(payload) : undefined
        // Kernels before 4.20 list everything.
        return index === undefined || address?.index === index ? address : undefined
      })
    } catch (error) {
      // Of a device that is gone.
      if (index !== undefined && isCode(error, 'ENODEV')) return []
      throw error
    }
  }

  /** Adds the address or gives the one that is there these flags and lifetimes. */
  async replace(spec: AddressSpec): Promise<void> {
    const message = addressSpecToWire(spec)
    await this.#requests.change({
      type: RTM_NEWADDR,
      op: 'RTM_NEWADDR',
      flags: NLM_F_CREATE | NLM_F_REPLACE,
      subject: subject(spec),
      encode: (writer) => addressMessage.encode(writer, message),
    })
  }

  /** False when it, or its device, was not there. */
  async del(key: AddressKey): Promise<boolean> {
    const message = addressKeyToWire(key)
    try {
      await this.#requests.change({
        type: RTM_DELADDR,
        op: 'RTM_DELADDR',
        subject: subject(key),
        encode: (writer) => addressMessage.encode(writer, message),
      })
      return true
    } catch (error) {
      if (isCode(error, 'EADDRNOTAVAIL', 'ENODEV')) return false
      throw error
    }
  }
}

function subject({ address, prefixLen, index }: AddressKey): string {
  return `${address}/${prefixLen} on link #${index}`
}
