// Which address belongs to whom, and which are kept from everybody.
import type { AddressesView, AddressView } from '../api/views.ts'
import { nodeAddressOf, offsetOf, parseRange, type Range } from '../ipam/range.ts'
import type { Rooms } from './rooms.ts'

export function describeAddresses({ ipam }: Pick<Rooms, 'ipam'>): AddressesView {
  const ranges = ipam.ranges.map(parseRange)
  const addresses = ipam.list().flatMap((allocation) =>
    allocation.addresses.map((address): AddressView => {
      const { key, podNamespace = '', podName = '', createdAt } = allocation
      const range = ranges.find((one) => offsetOf(one, address) !== undefined)
      return {
        address,
        ...(range === undefined ? {} : { range: range.text }),
        pod: { namespace: podNamespace, name: podName },
        ...key,
        since: createdAt,
      }
    }),
  )
  return {
    ranges: ipam.usage().map(({ range, used, capacity }) => {
      return { range, nodeAddress: nodeAddressOf(parseRange(range)), used, capacity }
    }),
    addresses: inOrder(addresses, ranges),
    keptOutOfUse: ipam
      .quarantined()
      .map(({ addresses: kept, file, reason }) => ({ addresses: kept, file, reason })),
  }
}

/** By range, then by number; of earlier ranges last. */
function inOrder(addresses: readonly AddressView[], ranges: readonly Range[]): AddressView[] {
  const place = ({ address }: AddressView): [number, number] => {
    const index = ranges.findIndex((range) => offsetOf(range, address) !== undefined)
    const range = ranges[index]
    return range === undefined ? [ranges.length, 0] : [index, offsetOf(range, address) ?? 0]
  }
  return [...addresses].sort((a, b) => {
    const [rangeA, offsetA] = place(a)
    const [rangeB, offsetB] = place(b)
    return rangeA - rangeB || offsetA - offsetB || (a.address < b.address ? -1 : 1)
  })
}
