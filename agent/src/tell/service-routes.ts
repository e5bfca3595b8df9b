// The routes by which Services are looked into: all, who answers for them, and what one connection would meet.
import { canonicalIp, isIp } from '@sinabro/node-netlink'
import { type Api, ApiError } from '../api/routes.ts'
import type { PodRef } from '../api/views.ts'
import { type Asked, type Caller, explainService } from './explain-service.ts'
import type { Rooms } from './rooms.ts'
import { describeBackends, describeServices, type ServicesSeen } from './services.ts'

const MOST_BACKENDS = 100_000

export function registerServices(api: Api, rooms: Rooms): void {
  const { cluster, datapath } = rooms
  const running = (): ServicesSeen => {
    const { model, serviceRows } = rooms
    if (model !== undefined) return { rows: serviceRows, model }
    const message = `this agent serves no Services: they are left to kube-proxy (--services none)`
    throw new ApiError('services-off', 409, message)
  }
  api.route('GET', '/v1/services', ({ query }) => {
    const name = query.get('name') ?? undefined
    const services = running()
    const body = describeServices({ services, objects: cluster.services }, name)
    if (name !== undefined && body.services.length === 0) {
      throw new ApiError('not-found', 404, `this node serves no Service ${name}`)
    }
    return { status: 200, body }
  })
  api.route('GET', '/v1/backends', async ({ query, signal }) => {
    const limit = Number(query.get('limit') ?? '1000')
    if (!Number.isInteger(limit) || limit < 1 || limit > MOST_BACKENDS) {
      throw badRequest(`limit: expected a whole number from 1 to ${MOST_BACKENDS}`)
    }
    const service = query.get('service')
    const which = { limit, ...(service === null ? {} : { service }) }
    const { backends } = datapath.maps
    const body = await describeBackends({ services: running() }, backends, which, signal)
    return { status: 200, body }
  })
  api.route('GET', '/v1/services/explain', ({ query }) => {
    const services = running()
    const asked = decodeAsked(query, (from) => callerOf(rooms, from))
    const body = explainService({ services, maps: datapath.maps }, asked)
    return { status: 200, body }
  })
}

/** @throws ApiError bad-request */
export function decodeAsked(
  query: URLSearchParams,
  callerOf: (from: string | undefined) => Caller | undefined,
): Asked {
  const address = query.get('address') ?? ''
  const port = Number(query.get('port') ?? '')
  const protocol = query.get('protocol') ?? 'tcp'
  const from = query.get('from') ?? undefined
  if (!isIp(address)) throw badRequest(`address: expected an address, found ${address}`)
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw badRequest('port: expected a whole number from 1 to 65535')
  }
  if (protocol !== 'tcp' && protocol !== 'udp') {
    throw badRequest(`protocol: expected tcp or udp, found ${protocol}`)
  }
  const caller = callerOf(from)
  if (caller === undefined) {
    const message = `from: ${from} is no pod of this node and no address; 'sinabro pods' lists its pods`
    throw badRequest(message)
  }
  return { address: canonicalIp(address), port, protocol, from: caller }
}

function callerOf(rooms: Rooms, from: string | undefined): Caller | undefined {
  const { ipam, datapath } = rooms
  const node = (): Caller => {
    const hostNetns = datapath.maps.serviceConfig.get(0)?.hostNetns ?? 0n
    return { kind: 'node', ...(hostNetns === 0n ? {} : { netnsCookie: hostNetns }) }
  }
  if (from === undefined) return node()
  const wanted = isIp(from) ? canonicalIp(from) : from
  for (const { addresses, podNamespace = '', podName = '', netnsCookie } of ipam.list()) {
    const isNamed = podName !== '' && [podName, `${podNamespace}/${podName}`].includes(wanted)
    const [first] = addresses
    const address = addresses.includes(wanted) ? wanted : first
    if (!isNamed && address !== wanted) continue
    const pod: PodRef = { namespace: podNamespace, name: podName }
    return {
      ...{ kind: 'pod', pod },
      ...(address === undefined ? {} : { address }),
      ...(netnsCookie === undefined ? {} : { netnsCookie: BigInt(netnsCookie) }),
    }
  }
  if (!isIp(from)) {
    const { address = '', port = '' } =
      /^\[?(?<address>[^\]]*)\]?:(?<port>\d{1,5})$/.exec(from)?.groups ?? {}
    const caller = isIp(address) ? callerOf(rooms, address) : undefined
    return caller === undefined || Number(port) > 65_535
      ? undefined
      : { ...caller, port: Number(port) }
  }
  return datapath.maps.nodeAddrs.get(wanted) === undefined
    ? { kind: 'outside', address: wanted }
    : { ...node(), address: wanted }
}

function badRequest(message: string): ApiError {
  return new ApiError('bad-request', 400, message)
}
