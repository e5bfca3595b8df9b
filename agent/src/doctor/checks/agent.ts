// What the agent itself says: whether it answers, and what it could not put right.
import { parsePrefix, prefixContains } from '@sinabro/node-netlink'
import { ROUTE_PROTOCOL } from '../../marks.ts'
import type { Check, Finding } from '../finding.ts'
import type { World } from '../world.ts'
import { XDP } from './xdp.ts'

export const agent: Check<World> = {
  name: 'agent',
  async run(world) {
    const word = await world.agent()
    if ('error' in word) {
      return [
        {
          level: 'error',
          found: word.error,
          means: 'running pods keep their network; new ones do not start, and nothing is repaired',
          do: "start it; its log says what keeps it from running ('journalctl -u sinabro', or the log of its pod)",
        },
      ]
    }
    const { components, problems } = word.status
    // XDP has a check of its own: nothing is left out for it.
    return [
      ...components
        .filter(({ component, state }) => {
          return state !== 'ok' && !(component === XDP && state === 'degraded')
        })
        .map(({ component, state, message = '' }): Finding => {
          const means =
            state === 'starting'
              ? 'the node is not ready for pods until it is done'
              : 'this part does not do its work; it is tried again by itself'
          return {
            level: 'error',
            found: `${component} is ${state}: ${message}`,
            means,
            do: 'put right what the message names',
          }
        }),
      ...problems
        .filter(({ where }) => where !== XDP)
        .map(
          ({ where, object = '', message }): Finding => ({
            level: 'warning',
            found: `${where}: ${object} ${message}`.replace('  ', ' '),
            means: 'what it describes is left out',
            do: 'mend it there; the agent reads it again by itself',
          }),
        ),
    ]
  },
}

/** Routes of others into ranges of pods take their packets away; a default route covers everything and is none. */
export const foreignRoutes: Check<World> = {
  name: 'foreign routes',
  async run(world) {
    const { status, nodes } = await world.running()
    const own = status.ranges.map(({ range }) => range)
    const ranges = [...new Set([...own, ...nodes.flatMap(({ podCIDRs }) => podCIDRs)])]
    const links = new Map((await world.netlink.links.list()).map((link) => [link.index, link]))
    const findings: Finding[] = []
    for (const route of await world.netlink.routes.list()) {
      const link = route.index === undefined ? undefined : links.get(route.index)
      const isOurs =
        route.protocol === ROUTE_PROTOCOL || link?.alias?.startsWith('sinabro:') === true
      if (isOurs || route.dst === 'default' || link?.name === 'lo') continue
      if (route.type === 'multicast' || route.type === 'broadcast') continue
      const range = ranges.find((one) => overlaps(one, route.dst))
      if (range === undefined) continue
      findings.push({
        level: 'error',
        found: `a route to ${route.dst} by ${link?.name ?? 'no device'} (protocol ${route.protocol}) overlaps the pod range ${range}`,
        means: 'packets for pods go there instead, whichever is longer',
        do: `if a bridge or tunnel of an earlier network made it: ip link del ${link?.name ?? 'DEVICE'}. Else give the nodes other podCIDRs`,
      })
    }
    return findings
  },
}

export function overlaps(a: string, b: string): boolean {
  const [one, other] = [parsePrefix(a), parsePrefix(b)]
  return prefixContains(one, other) || prefixContains(other, one)
}
