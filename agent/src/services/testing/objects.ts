// Services and EndpointSlices as tests write them: in short, and through the decoders that real ones go through.
import { decodeEndpointSlice } from '../../cluster/decode-endpoint-slice.ts'
import { decodeService } from '../../cluster/decode-service.ts'
import type { EndpointSliceRow, ServiceRow } from '../../cluster/rows.ts'

/** `shop/web` or `web` in `default`. */
function metadataOf(key: string): { namespace: string; name: string } {
  const [namespace = '', name] = key.split('/')
  return name === undefined ? { namespace: 'default', name: namespace } : { namespace, name }
}

export interface ServiceText {
  readonly spec?: object
  readonly ingress?: readonly object[]
  readonly createdAt?: string
  readonly labels?: object
}

/** One port, TCP 80, if the spec says none. */
export function service(key: string, clusterIPs: string, more: ServiceText = {}): ServiceRow {
  const { spec, ingress, createdAt: creationTimestamp, labels } = more
  return decodeService({
    metadata: { ...metadataOf(key), creationTimestamp, labels },
    spec: { clusterIPs: clusterIPs.split(' '), ports: [{ port: 80 }], ...spec },
    status: { loadBalancer: { ingress } },
  })
}

export interface SliceText {
  readonly name?: string
  readonly ports?: readonly object[]
  readonly addressType?: string
}

/** Endpoints as `10.0.0.1@node/zone terminating`; or as the object itself. */
export function slice(
  of: string,
  endpoints: readonly (string | object)[],
  { name, ports = [{ port: 8080 }], addressType = 'IPv4' }: SliceText = {},
): EndpointSliceRow {
  const { namespace, name: serviceName } = metadataOf(of)
  return decodeEndpointSlice({
    metadata: {
      ...{ namespace, name: name ?? `${serviceName}-1` },
      labels: { 'kubernetes.io/service-name': serviceName },
    },
    ...{ addressType, ports, endpoints: endpoints.map((one) => endpointOf(one)) },
  })
}

const CONDITIONS: Readonly<Record<string, object>> = {
  ready: { ready: true },
  unready: { ready: false, serving: false, terminating: false },
  serving: { ready: false, serving: true, terminating: true },
  terminating: { ready: false, serving: false, terminating: true },
}

function endpointOf(text: string | object): object {
  if (typeof text !== 'string') return text
  const [where = '', condition = 'ready', ...hints] = text.split(' ')
  const [address, place = ''] = where.split('@')
  const [nodeName, zone] = place.split('/')
  const named = (prefix: string): object[] =>
    hints
      .filter((hint) => hint.startsWith(prefix))
      .map((hint) => ({ name: hint.slice(prefix.length) }))
  return {
    ...{ addresses: [address], conditions: CONDITIONS[condition] },
    ...(nodeName === '' ? {} : { nodeName }),
    ...(zone === undefined ? {} : { zone }),
    hints: { forZones: named('zone='), forNodes: named('node=') },
  }
}
