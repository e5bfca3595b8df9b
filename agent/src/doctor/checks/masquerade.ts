// Whether pods can go on leaving the cluster: ports and rows that run out, uplinks without an address, settings that are not understood.
import { get } from '../../api/client.ts'
import type { MasqueradeView } from '../../api/views.ts'
import { type Check, type Finding, Skip } from '../finding.ts'
import type { World } from '../world.ts'

/** Of what there is; above, somebody should know. */
const HIGH = 0.8

export const masquerade: Check<World> = {
  name: 'masquerade',
  async run(world) {
    const view = await ask(world)
    if (view.mode !== 'ebpf') return []
    const families = new Set(
      (await world.running()).status.ranges.map(({ range }) => (range.includes(':') ? 6 : 4)),
    )
    return [...poolFindings(view), ...uplinkFindings(view, families), ...settingFindings(view)]
  },
}

export const flowTable: Check<World> = {
  name: 'flow table',
  async run(world) {
    const { flowRows, flowCapacity } = await ask(world)
    if (flowRows <= HIGH * flowCapacity) return []
    return [
      {
        level: 'warning',
        found: `${flowRows} of ${flowCapacity} rows of the flow table are in use`,
        means: 'when it is full, new connections of pods fail; those that run stay',
        do: "'sinabro flows' shows whose they are; --flows-max makes room, once the node has no pods and its maps are gone",
      },
    ]
  },
}

/** @throws Skip without an agent */
async function ask(world: World): Promise<MasqueradeView> {
  await world.running()
  const { socket } = world.config
  try {
    return (await get('/v1/masquerade?limit=100', { socket })) as MasqueradeView
  } catch (error) {
    throw new Skip(error instanceof Error ? error.message : String(error))
  }
}

export function poolFindings({ pools }: Pick<MasqueradeView, 'pools'>): Finding[] {
  return pools
    .filter(({ used, capacity }) => used > HIGH * capacity)
    .map(({ address, to, port, protocol, used, capacity, failed }) => ({
      level: failed > 0 ? 'error' : 'warning',
      found: `${used} of ${capacity} ports of ${address} towards ${to} port ${port} (${protocol}) are in use; ${failed} new connections got none`,
      means:
        'when all are, new connections of pods of this node to that destination fail; those that run stay',
      do: "'sinabro flows --to' shows who has them. Wider --masquerade-ports, more nodes, or connections that are kept and used again",
    }))
}

export function uplinkFindings(
  { uplinks }: Pick<MasqueradeView, 'uplinks'>,
  families: ReadonlySet<4 | 6>,
): Finding[] {
  return uplinks.flatMap((uplink) => {
    const { name, isUp } = uplink
    const missing = ([4, 6] as const).filter((family) => {
      return families.has(family) && uplink[`source${family}`] === undefined
    })
    if (!isUp) return []
    return missing.map(
      (family): Finding => ({
        level: 'warning',
        found: `uplink ${name} has no IPv${family} address that others could answer to`,
        means: `pods that leave by it over IPv${family} take the kernel's stack, which is slower, or do not get out`,
        do: `give it one, or leave it out of --uplinks if nothing leaves by it over IPv${family}`,
      }),
    )
  })
}

function settingFindings({ isReservedUnknown }: MasqueradeView): Finding[] {
  if (!isReservedUnknown) return []
  return [
    {
      level: 'warning',
      found: 'net.ipv4.ip_local_reserved_ports is written in a way that this version does not know',
      means: 'pods may be given ports that it keeps for others',
      do: 'name these ports to the agent with --reserved-ports',
    },
  ]
}
