// How much one Service may ask for: whoever may write one must not make every agent run out of memory. Counted before anything is built.
import type { EndpointSliceRow, ServiceRow } from '../cluster/rows.ts'
import { familiesOf } from './model-frontends.ts'

/** Frontends of one Service, and endpoints of it over all of its ports. */
export const MOST_OF_SERVICE = 65_536

/** Ports times addresses; some may be there twice. */
export function hasTooManyFrontends({
  ports,
  clusterIPs,
  externalIPs,
  ingress,
}: ServiceRow): boolean {
  const addresses = clusterIPs.length + externalIPs.length + ingress.length
  const nodePorts = ports.filter(({ nodePort }) => nodePort !== undefined).length
  const frontends = ports.length * addresses + nodePorts * clusterIPs.length
  return frontends > MOST_OF_SERVICE
}

/** What is too much of a Service, in words; undefined if nothing. */
export function excessOf(
  service: ServiceRow,
  slices: readonly EndpointSliceRow[],
): string | undefined {
  if (hasTooManyFrontends(service)) return 'frontends (ports times addresses)'
  return hasTooManyEndpoints(service, slices) ? 'endpoints over all ports' : undefined
}

function hasTooManyEndpoints(service: ServiceRow, slices: readonly EndpointSliceRow[]): boolean {
  const types = new Set<EndpointSliceRow['addressType']>(
    familiesOf(service).map((family) => (family === 4 ? 'IPv4' : 'IPv6')),
  )
  const counted = slices.filter(({ addressType }) => types.has(addressType))
  // Most Services: whatever their ports are, these are not too many.
  const most = counted.reduce((sum, { endpoints }) => sum + endpoints.length, 0)
  if (most * service.ports.length <= MOST_OF_SERVICE) return false
  const names = new Set(service.ports.map(nameOf))
  const pairs = counted.reduce((sum, { ports, endpoints }) => {
    const asked = new Set(ports.map(nameOf)).intersection(names)
    return sum + asked.size * endpoints.length
  }, 0)
  return pairs > MOST_OF_SERVICE
}

function nameOf({ name, protocol }: { readonly name: string; readonly protocol: string }): string {
  return `${name}/${protocol}`
}
