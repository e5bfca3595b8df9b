// How much one Service may ask for: whoever may write one must not make every agent run out of memory. Counted before anything is built.
import type { EndpointSliceRow, ServiceRow } from '../cluster/rows.ts'
import { familiesOf } from './model-frontends.ts'

/** Frontends of one Service, and endpoints of it over all of its ports. */
const MOST_OF_SERVICE = 65_536
/** Source ranges, each as often as there are ports: an eighth of the rows that a node has for all Services, unless told otherwise. */
const MOST_RANGES = 8192

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

/** What it asks for too much of, and how many it may have, in words; undefined if nothing. */
export function excessOf(
  service: ServiceRow,
  slices: readonly EndpointSliceRow[],
): string | undefined {
  if (hasTooManyFrontends(service)) return `${MOST_OF_SERVICE} frontends (ports times addresses)`
  if (hasTooManyRanges(service)) return `${MOST_RANGES} source ranges (ranges times ports)`
  if (!hasTooManyEndpoints(service, slices)) return undefined
  return `${MOST_OF_SERVICE} endpoints over all ports`
}

/** They are of load balancer addresses alone. */
function hasTooManyRanges({ ports, ingress, loadBalancerSourceRanges = [] }: ServiceRow): boolean {
  return ingress.length > 0 && loadBalancerSourceRanges.length * ports.length > MOST_RANGES
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
