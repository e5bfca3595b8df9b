// The routes by which the rooms are looked into; each answers with the shape that api/views.ts names.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { BpfLink } from '@sinabro/libbpf-ts'
import { JIFFIES_PER_TICK } from '@sinabro/libbpf-ts/layouts'
import { canonicalIp, isIp, parsePrefix } from '@sinabro/node-netlink'
import { type Api, ApiError } from '../api/routes.ts'
import { FLOW_STATES, type FlowState, type PodRef } from '../api/views.ts'
import { pinPaths } from '../datapath/load.ts'
import { codeOf } from '../runtime/log.ts'
import { describeAddresses } from './addresses.ts'
import { describeFlows, type FlowFilter, type FlowNames } from './flows.ts'
import { describeMasquerade } from './masquerade.ts'
import { describeNodes } from './nodes.ts'
import { describePrograms } from './programs.ts'
import type { Rooms } from './rooms.ts'
import { registerServices } from './service-routes.ts'

const MOST_FLOWS = 100_000

export function registerRooms(api: Api, rooms: Rooms): void {
  registerServices(api, rooms)
  const { netlink, datapath, overlay, config, features, clock } = rooms
  api.route('GET', '/v1/addresses', () => ({ status: 200, body: describeAddresses(rooms) }))
  api.route('GET', '/v1/nodes', () => ({ status: 200, body: { nodes: describeNodes(rooms) } }))
  api.route('GET', '/v1/masquerade', async ({ query }) => {
    const limit = query.get('limit') ?? '10'
    if (!/^\d{1,3}$/.test(limit)) {
      throw badRequest(`limit: expected a whole number below 1000, found ${limit}`)
    }
    return { status: 200, body: await describeMasquerade(rooms, Number(limit)) }
  })
  api.route('GET', '/v1/programs', async () => {
    const { links, uplinks } = pinPaths(config.bpfDir)
    const body = await describePrograms({
      netlink,
      features,
      mode: config.tunnel,
      programs: datapath.programs,
      uplinks: overlay.uplinks().map(({ name }) => name),
      ownLinks: new Set([...readPinnedLinks(links), ...readPinnedLinks(uplinks)]),
    })
    return { status: 200, body }
  })
  api.route('GET', '/v1/flows', async ({ query, signal }) => {
    const filter = decodeFlowFilter(query)
    // The sweep knows what time it is for the rows.
    const { nowTicks, hz, at } = datapath.lastSweep ?? (await datapath.sweep())
    const sinceTicks = (((clock.now() - at) / 1000) * hz) / JIFFIES_PER_TICK
    const time = { nowTicks: nowTicks + Math.round(sinceTicks), hz }
    const body = await describeFlows(datapath.maps.flows, flowNames(rooms), time, filter, signal)
    return { status: 200, body }
  })
}

/** @throws ApiError bad-request */
export function decodeFlowFilter(query: URLSearchParams): FlowFilter {
  const pod = query.get('pod')
  const to = query.get('to')
  const state = query.get('state')
  const limit = query.get('limit') ?? '1000'
  if (state !== null && !isFlowState(state)) {
    throw badRequest(`state: expected ${FLOW_STATES.join(', ')}, found ${state}`)
  }
  if (!/^\d{1,6}$/.test(limit) || Number(limit) < 1 || Number(limit) > MOST_FLOWS) {
    throw badRequest(`limit: expected a whole number from 1 to ${MOST_FLOWS}, found ${limit}`)
  }
  return {
    limit: Number(limit),
    ...(pod === null ? {} : { pod: isIp(pod) ? canonicalIp(pod) : pod }),
    ...(to === null ? {} : { to: decodeDestination(to) }),
    ...(state === null ? {} : { state }),
  }
}

function isFlowState(text: string): text is FlowState {
  return (FLOW_STATES as readonly string[]).includes(text)
}

function decodeDestination(text: string): string {
  try {
    if (!text.includes('/')) return canonicalIp(text)
    parsePrefix(text)
    return text
  } catch {
    throw badRequest(`to: expected an address or a prefix such as 10.244.0.0/16, found ${text}`)
  }
}

function badRequest(message: string): ApiError {
  return new ApiError('bad-request', 400, message)
}

function flowNames({ ipam, overlay, datapath }: Rooms): FlowNames {
  const pods = new Map<string, PodRef>()
  for (const { addresses, incarnation, podNamespace = '', podName = '' } of ipam.list()) {
    const pod = { namespace: podNamespace, name: podName }
    for (const address of addresses) pods.set(`${address} ${incarnation}`, pod)
  }
  const nodes = new Map<number, string>()
  for (const { name, tunnelAddress } of overlay.plan().peers) {
    const id = datapath.maps.nodeIds.get(tunnelAddress)
    if (id !== undefined) nodes.set(id, name)
  }
  return {
    pod: (address, incarnation) => pods.get(`${address} ${incarnation}`),
    node: (id) => nodes.get(id),
  }
}

/** Ids of the tcx links that our pins hold. */
export function readPinnedLinks(folder: string): Set<number> {
  const ids = new Set<number>()
  for (const name of listFolder(folder)) {
    using link = BpfLink.openPinned(join(folder, name))
    if (link !== undefined) ids.add(link.info().id)
  }
  return ids
}

function listFolder(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  }
}
