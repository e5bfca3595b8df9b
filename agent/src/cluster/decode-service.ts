// A Kubernetes Service, v1, to the row that the node network reads of it.
import { decodeName, Field } from './decode.ts'
import type { ServiceRow } from './rows.ts'

/** @throws DecodeError */
export function decodeService(value: unknown): ServiceRow {
  const service = new Field(value)
  const metadata = service.at('metadata')
  const namespace = metadata.at('namespace')
  const uid = metadata.at('uid').optionalString()
  const spec = service.at('spec')
  const ingress = service.at('status').at('loadBalancer').at('ingress').list()
  const addresses = [
    ...clusterIPs(spec),
    ...spec.at('externalIPs').list(),
    ...ingress.map((one) => one.at('ip')).filter((ip) => !ip.isAbsent),
  ].map((field) => field.address())
  return {
    namespace: namespace.isAbsent ? 'default' : decodeName(namespace),
    name: decodeName(metadata.at('name')),
    ...(uid === undefined ? {} : { uid }),
    addresses: [...new Set(addresses)],
  }
}

/** `clusterIP` is the older form of the first of `clusterIPs`. Headless Services have 'None', those of external names nothing. */
function clusterIPs(spec: Field): Field[] {
  const several = spec.at('clusterIPs')
  const fields = several.isAbsent ? [spec.at('clusterIP')] : several.list()
  return fields.filter((field) => !['None', '', undefined].includes(field.optionalString()))
}
