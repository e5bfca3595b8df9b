// Where a Service wants to be reached, as its object says it: pure, and before anybody asks whether it may.
import type { Protocol, ServicePortRow, ServiceRow } from '../cluster/rows.ts'
import type { Frontend } from './rows.ts'

/** Headless ones have no address, names outside are DNS's, and some are another proxy's. */
export function isServed({ type, clusterIPs, proxyName }: ServiceRow): boolean {
  return type !== 'ExternalName' && clusterIPs.length > 0 && proxyName === undefined
}

/** Families that a Service has cluster addresses of: what it says of others does not count. */
export function familiesOf({ clusterIPs }: ServiceRow): (4 | 6)[] {
  return clusterIPs.map(familyOf)
}

export function familyOf(address: string): 4 | 6 {
  return address.includes(':') ? 6 : 4
}

/** Of one port and family. An address that is there twice counts as what has the narrower rules: the load balancer's. */
export function frontendsOf(
  service: ServiceRow,
  { port, nodePort }: ServicePortRow,
  family: 4 | 6,
): Frontend[] {
  const { clusterIPs, externalIPs, ingress } = service
  const balanced = ingress.filter(({ ipMode }) => ipMode !== 'Proxy').map(({ ip }) => ip)
  const wanted = (kind: Frontend['kind'], addresses: readonly string[]): Frontend[] =>
    addresses
      .filter((address) => familyOf(address) === family)
      .map((address) => ({ kind, address, port }))
  const any = family === 4 ? '0.0.0.0' : '::'
  const byAddress = new Map<string, Frontend>()
  for (const frontend of [
    ...wanted('ClusterIP', clusterIPs),
    ...wanted('LoadBalancer', balanced),
    ...wanted('ExternalIP', externalIPs),
  ]) {
    if (!byAddress.has(frontend.address)) byAddress.set(frontend.address, frontend)
  }
  const nodePorts: Frontend[] =
    nodePort === undefined ? [] : [{ kind: 'NodePort', address: any, port: nodePort }]
  return [...byAddress.values(), ...nodePorts]
}

/** Asked for from outside of the cluster: their address is somebody's that others could have, too. */
export function isOutside({ kind }: Frontend): boolean {
  return kind === 'LoadBalancer' || kind === 'ExternalIP'
}

/** What only one Service can have. */
export function claimOf({ address, port }: Frontend, protocol: Protocol): string {
  return [address, port, protocol].join(' ')
}

export interface Wanted {
  readonly frontend: Frontend
  readonly protocol: Protocol
}

/** All of a Service. */
export function wantedBy(service: ServiceRow): Wanted[] {
  return familiesOf(service).flatMap((family) =>
    service.ports.flatMap((port) =>
      frontendsOf(service, port, family).map((frontend) => ({ frontend, protocol: port.protocol })),
    ),
  )
}
