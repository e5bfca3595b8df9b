// A Kubernetes EndpointSlice, discovery.k8s.io/v1, to the row that the node network reads of it: small, for there are many.
import { formatIp, isIp, parseIp } from '@sinabro/node-netlink'
import { decodeMetadata, decodePort, decodeProtocol, Field } from './decode.ts'
import type { EndpointCondition, EndpointPortRow, EndpointRow, EndpointSliceRow } from './rows.ts'
import { isGlobalUnicast } from './unicast.ts'

export const SERVICE_NAME = 'kubernetes.io/service-name'

const TRIGGER_TIME = 'endpoints.kubernetes.io/last-change-trigger-time'

/** Gives the one copy of a text that many objects have. */
export type Intern = (text: string) => string

/** @throws DecodeError */
export function decodeEndpointSlice(
  value: unknown,
  intern: Intern = (text) => text,
): EndpointSliceRow {
  const slice = new Field(value)
  const metadata = slice.at('metadata')
  const service = metadata.at('labels').at(SERVICE_NAME).optionalString()
  const addressType = slice.at('addressType').oneOf(['IPv4', 'IPv6', 'FQDN'])
  const { namespace: text, name } = decodeMetadata(metadata)
  const namespace = intern(text)
  const triggeredAt = Date.parse(metadata.at('annotations').at(TRIGGER_TIME).optionalString() ?? '')
  const refused: string[] = []
  const endpoints: EndpointRow[] = []
  // Names are for DNS: nothing is behind them that a packet could be sent to.
  const found = addressType === 'FQDN' ? [] : slice.at('endpoints').list()
  for (const field of found) {
    const given = field.at('addresses').list()[0]?.string()
    if (given === undefined) continue
    const address = usableAddress(given, addressType === 'IPv4')
    if (address === undefined) refused.push(given)
    else endpoints.push(decodeEndpoint(field, address, namespace, intern))
  }
  return {
    namespace,
    name,
    addressType,
    ports: slice
      .at('ports')
      .list()
      .flatMap((port) => decodeEndpointPort(port, intern)),
    // A copy is no longer than it must be.
    endpoints: endpoints.slice(),
    ...(service === undefined ? {} : { service }),
    ...(refused.length === 0 ? {} : { refused }),
    ...(triggeredAt > 0 ? { triggeredAt } : {}),
  }
}

/** Without a number it means every port, which no Service can ask for. */
function decodeEndpointPort(field: Field, intern: Intern): EndpointPortRow[] {
  if (field.at('port').isAbsent || field.at('port').value === 0) return []
  const name = intern(field.at('name').optionalString() ?? '')
  const protocol = decodeProtocol(field.at('protocol'))
  return [{ name, protocol, port: decodePort(field.at('port')) }]
}

function decodeEndpoint(
  field: Field,
  address: string,
  namespace: string,
  intern: Intern,
): EndpointRow {
  const condition = decodeCondition(field.at('conditions'))
  const nodeName = internOptional(field.at('nodeName'), intern)
  const zone = internOptional(field.at('zone'), intern)
  const pod = decodePodName(field.at('targetRef'), namespace)
  const hints = field.at('hints')
  const forZones = decodeHints(hints.at('forZones'), intern)
  const forNodes = decodeHints(hints.at('forNodes'), intern)
  const hasNoHints = forZones === undefined && forNodes === undefined
  // The most frequent shape as one literal: its fields then lie in the object itself, which halves it.
  if (nodeName !== undefined && zone !== undefined && pod !== undefined && hasNoHints) {
    return { address, condition, nodeName, zone, pod }
  }
  return {
    address,
    condition,
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(zone === undefined ? {} : { zone }),
    ...(pod === undefined ? {} : { pod }),
    ...(forZones === undefined ? {} : { forZones }),
    ...(forNodes === undefined ? {} : { forNodes }),
  }
}

/** What is absent of `ready` and `serving` counts as true, of `terminating` as false. */
function decodeCondition(conditions: Field): EndpointCondition {
  if (conditions.at('ready').optionalBoolean() !== false) return 'Ready'
  if (conditions.at('terminating').optionalBoolean() !== true) return 'NotReady'
  const isServing = conditions.at('serving').optionalBoolean() !== false
  return isServing ? 'ServingTerminating' : 'Terminating'
}

function decodePodName(target: Field, namespace: string): string | undefined {
  if (target.isAbsent || target.at('kind').optionalString() !== 'Pod') return undefined
  const name = target.at('name').optionalString()
  if (name === undefined) return undefined
  // join() makes one piece of text, where a template string would hold on to its parts.
  return [target.at('namespace').optionalString() ?? namespace, name].join('/')
}

function decodeHints(field: Field, intern: Intern): string[] | undefined {
  const names = field.list().map((hint) => intern(hint.at('name').string()))
  return names.length === 0 ? undefined : names
}

function internOptional(field: Field, intern: Intern): string | undefined {
  const text = field.optionalString()
  return text === undefined ? undefined : intern(text)
}

/** Canonical; undefined if no packet may be sent there in a Service's name. */
function usableAddress(text: string, isV4: boolean): string | undefined {
  if (!isIp(text)) return undefined
  const { family, bytes } = parseIp(text)
  if (!isGlobalUnicast(bytes) || (family === 4) !== isV4) return undefined
  const canonical = formatIp(bytes)
  // What was read is one piece; what was put together may hang on its pieces.
  return canonical === text ? text : canonical
}
