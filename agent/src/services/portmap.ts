// The chains that the portmap plug-in has made for a pod, while host ports were its work: one per pod, named after it.
import { createHash } from 'node:crypto'
import type { AttachmentKey } from '../ipam/allocation.ts'
import {
  countLegacy,
  LEGACY,
  legacyTables,
  listChains,
  type NetfilterWorld,
  removeLegacy,
  unlinkChains,
} from './netfilter-chains.ts'

export interface PodOfPortmap {
  readonly key: AttachmentKey
}

const NAT = 'nat'
/** Where its jumps are. */
const PARENT = 'CNI-HOSTPORT-DNAT'
/** All that iptables has room for. */
const NAME_LENGTH = 28

/** Says how many went, and what could not be looked at. @throws Error with what a tool or the kernel refused */
export async function removePortmapChains(
  world: NetfilterWorld,
  pods: readonly PodOfPortmap[],
): Promise<{ readonly removed: number; readonly unseen: readonly string[] }> {
  const names = new Set(pods.map(portmapChain))
  const isOurs = (table: string, chain: string) => table === NAT && names.has(chain)
  const unseen: string[] = []
  const chains = await listChains(world, [NAT])
  let removed = chains.filter(({ table, name }) => isOurs(table, name)).length
  if (removed > 0) {
    const script = await unlinkChains(world, isOurs, [PARENT])
    await world.run('nft', ['-f', '-'], `${script.join('\n')}\n`)
  }
  for (const { program, names: file } of LEGACY) {
    if (!legacyTables(world, file).includes(NAT)) continue
    try {
      removed += await countLegacy(world, program, NAT, isOurs)
    } catch (error) {
      unseen.push(error instanceof Error ? error.message : String(error))
      continue
    }
    await removeLegacy(world, program, NAT, isOurs)
  }
  return { removed, unseen }
}

export function portmapChain({ key: { network, containerId } }: PodOfPortmap): string {
  const digest = createHash('sha512')
    .update(network + containerId)
    .digest('hex')
  return `CNI-DN-${digest}`.slice(0, NAME_LENGTH)
}
