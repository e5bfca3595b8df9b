// A Kubernetes Node, v1, to the row that the node network reads of it.
import { DecodeError, decodeName, Field } from './decode.ts'
import type { NodeRow } from './rows.ts'

/** Key of the taint by which the cluster autoscaler announces that it will delete a node. */
const TO_BE_DELETED = 'ToBeDeletedByClusterAutoscaler'

/** @throws DecodeError */
export function decodeNode(value: unknown): NodeRow {
  const node = new Field(value)
  const metadata = node.at('metadata')
  const uid = metadata.at('uid').optionalString()
  const taints = node.at('spec').at('taints').list()
  const addresses = node.at('status').at('addresses').list()
  const ofType = (type: string): Field[] =>
    addresses
      .filter((address) => address.at('type').string() === type)
      .map((address) => address.at('address'))
  const externalIPs = ofType('ExternalIP').flatMap(addressIfAny)
  const isLeaving =
    !metadata.at('deletionTimestamp').isAbsent ||
    taints.some((taint) => taint.at('key').optionalString() === TO_BE_DELETED)
  return {
    name: decodeName(metadata.at('name')),
    ...(uid === undefined ? {} : { uid }),
    podCIDRs: decodePodCIDRs(node.at('spec')),
    internalIPs: ofType('InternalIP').map((field) => field.address()),
    ...(externalIPs.length === 0 ? {} : { externalIPs }),
    ...(isLeaving ? { isLeaving } : {}),
    labels: metadata.at('labels').stringMap(),
    annotations: metadata.at('annotations').stringMap(),
  }
}

/** A cloud's word for what is outside: a node is one without it, too. */
function addressIfAny(field: Field): string[] {
  try {
    return [field.address()]
  } catch (error) {
    if (error instanceof DecodeError) return []
    throw error
  }
}

/** `podCIDR` is the older form of the first of `podCIDRs`. At most one per family, as the API server wants it. */
function decodePodCIDRs(spec: Field): string[] {
  const several = spec.at('podCIDRs')
  const one = spec.at('podCIDR')
  const fields = several.isAbsent && !one.isAbsent ? [one] : several.list()
  const ranges = fields.map((field) => field.prefix())
  const families = new Set(ranges.map((range) => range.includes(':')))
  if (families.size < ranges.length) throw several.expected('at most one range per family')
  return ranges
}
