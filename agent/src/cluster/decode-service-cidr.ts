// A Kubernetes ServiceCIDR, networking.k8s.io/v1, to the row that the node network reads of it.
import { decodeName, Field } from './decode.ts'
import type { ServiceCIDRRow } from './rows.ts'

/** @throws DecodeError */
export function decodeServiceCIDR(value: unknown): ServiceCIDRRow {
  const object = new Field(value)
  return {
    name: decodeName(object.at('metadata').at('name')),
    cidrs: object
      .at('spec')
      .at('cidrs')
      .list()
      .map((range) => range.prefix()),
  }
}
