// A Kubernetes Service, v1, to the row that the node network reads of it.
import { formatPrefix, networkOf, parseIpWithPrefix } from '@sinabro/node-netlink'
import { DecodeError, decodeMetadata, decodePort, decodeProtocol, Field } from './decode.ts'
import type { BackendChoice, IngressRow, ServicePortRow, ServiceRow } from './rows.ts'

const TYPES = ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'] as const
const PROXY_NAME = 'service.kubernetes.io/service-proxy-name'
/** With any value: nobody serves it, although it may have addresses. */
const HEADLESS = 'service.kubernetes.io/headless'
const CHOICE = 'sinabro.io/backend-choice'
const CHOICES: readonly BackendChoice[] = ['random', 'maglev']
/** `sessionAffinityConfig.clientIP.timeoutSeconds` where it is not said: three hours. */
const AFFINITY_SEC = 10_800

/** What most have none of is one list for all. */
const NONE: readonly never[] = Object.freeze([])

/** @throws DecodeError */
export function decodeService(value: unknown): ServiceRow {
  const service = new Field(value)
  const metadata = service.at('metadata')
  const createdAt = metadata.at('creationTimestamp').optionalString()
  const spec = service.at('spec')
  const type = spec.at('type').isAbsent ? 'ClusterIP' : spec.at('type').oneOf(TYPES)
  const proxyName = metadata.at('labels').at(PROXY_NAME).optionalString()
  const isHeadless = !metadata.at('labels').at(HEADLESS).isAbsent
  const trafficDistribution = spec.at('trafficDistribution').optionalString()
  const isInternalLocal = isLocal(spec.at('internalTrafficPolicy'))
  const isExternalLocal = isLocal(spec.at('externalTrafficPolicy'))
  const healthCheck = spec.at('healthCheckNodePort')
  const hasHealthCheck = isExternalLocal && !healthCheck.isAbsent && healthCheck.value !== 0
  const { namespace, name, uid } = decodeMetadata(metadata)
  const refused: string[] = []
  const choice = metadata.at('annotations').at(CHOICE).optionalString()
  const backendChoice = CHOICES.find((one) => one === choice)
  if (choice !== undefined && backendChoice === undefined) {
    refused.push(
      `annotation ${CHOICE}: expected ${CHOICES.join(' or ')}, found ${choice.slice(0, 40)}`,
    )
  }
  const externalIPs = spec.at('externalIPs').list()
  const ingress = service.at('status').at('loadBalancer').at('ingress')
  // What all have comes first: those fields then lie in the object itself, and there are many.
  return {
    namespace,
    name,
    type,
    clusterIPs: type === 'ExternalName' || isHeadless ? [] : decodeClusterIPs(spec),
    externalIPs: orNone([...new Set(externalIPs.flatMap((one) => addressOf(one, refused)))]),
    ingress: orNone(decodeIngress(ingress, refused)),
    ports: spec.at('ports').list().map(decodeServicePort),
    ...(uid === undefined ? {} : { uid }),
    ...(createdAt === undefined ? {} : { createdAt }),
    ...(isInternalLocal ? { internalTrafficPolicy: 'Local' } : {}),
    ...(isExternalLocal ? { externalTrafficPolicy: 'Local' } : {}),
    ...(hasHealthCheck ? { healthCheckNodePort: decodePort(healthCheck) } : {}),
    ...decodeAffinity(spec),
    ...decodeSourceRanges(spec.at('loadBalancerSourceRanges')),
    ...(trafficDistribution === undefined ? {} : { trafficDistribution }),
    ...(backendChoice === undefined ? {} : { backendChoice }),
    ...(proxyName === undefined ? {} : { proxyName }),
    ...(refused.length === 0 ? {} : { refused }),
  }
}

/** `clusterIP` is the older form of the first of `clusterIPs`. Headless Services have 'None', those of external names nothing. */
function decodeClusterIPs(spec: Field): string[] {
  const several = spec.at('clusterIPs')
  const fields = several.isAbsent ? [spec.at('clusterIP')] : several.list()
  const given = fields.filter((field) => !['None', '', undefined].includes(field.optionalString()))
  const addresses = given.map((field) => field.address())
  const families = new Set(addresses.map((address) => address.includes(':')))
  if (families.size < addresses.length) throw several.expected('at most one address per family')
  return addresses
}

/** One; what is none is lost alone, as its Service has others. */
function addressOf(field: Field, refused: string[]): string[] {
  try {
    return [field.address()]
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
    refused.push(error.message)
    return []
  }
}

function decodeIngress(ingress: Field, refused: string[]): IngressRow[] {
  return ingress.list().flatMap((one) => {
    if (one.at('ip').isAbsent || one.at('ip').value === '') return []
    return addressOf(one.at('ip'), refused).map((ip) =>
      one.at('ipMode').optionalString() === 'Proxy' ? { ip, ipMode: 'Proxy' } : { ip },
    )
  })
}

function decodeServicePort(field: Field): ServicePortRow {
  const nodePort = field.at('nodePort')
  return {
    name: field.at('name').optionalString() ?? '',
    protocol: decodeProtocol(field.at('protocol')),
    port: decodePort(field.at('port')),
    ...(nodePort.isAbsent || nodePort.value === 0 ? {} : { nodePort: decodePort(nodePort) }),
  }
}

function decodeAffinity(spec: Field): { affinitySec?: number } {
  if (spec.at('sessionAffinity').optionalString() !== 'ClientIP') return {}
  const timeout = spec.at('sessionAffinityConfig').at('clientIP').at('timeoutSeconds')
  return { affinitySec: timeout.isAbsent ? AFFINITY_SEC : timeout.wholeNumber(1, 86_400) }
}

/** The API server takes spaces around a range and bits behind its prefix. */
function decodeSourceRanges(field: Field): { loadBalancerSourceRanges?: readonly string[] } {
  const ranges = field.list().map((one) => {
    try {
      return formatPrefix(networkOf(parseIpWithPrefix(one.string().trim())))
    } catch {
      throw one.expected('a range such as 192.0.2.0/24 or 2001:db8::/32')
    }
  })
  return ranges.length === 0 ? {} : { loadBalancerSourceRanges: [...new Set(ranges)] }
}

function isLocal(policy: Field): boolean {
  return !policy.isAbsent && policy.oneOf(['Cluster', 'Local', '']) === 'Local'
}

function orNone<T>(list: readonly T[]): readonly T[] {
  return list.length === 0 ? NONE : list
}
