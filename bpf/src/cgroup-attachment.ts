// Our program on a hook of a cgroup, held by a pin: put there, replaced without a gap, found again, taken off.
import { type CgroupPlace, cgroupId, listCgroup } from './cgroup.ts'
import { BpfLink, type LinkInfo } from './link.ts'
import { dropPinnedLink, keepPinnedLink } from './pinned-link.ts'
import type { BpfProgram } from './program.ts'

export interface CgroupAttachmentPlace extends CgroupPlace {
  /** Where the link is pinned: a path of its own for each cgroup and hook. */
  readonly pinPath: string
}

/**
 * Makes `program` the one of ours on the hook; processes meet the old one or the new one, never none. Others' programs
 * stay. Idempotent; one call at a time for each pin. A program written for another hook is EINVAL.
 */
async function attach(
  options: CgroupAttachmentPlace & { readonly program: BpfProgram },
): Promise<void> {
  const { pinPath, program } = options
  const create = () => BpfLink.createCgroup(options)
  await keepPinnedLink({ pinPath, program, isHere: (link) => isOn(link, options), create })
}

/** False if nothing was there. The cgroup may be gone. */
async function detach({ pinPath }: Pick<CgroupAttachmentPlace, 'pinPath'>): Promise<boolean> {
  return dropPinnedLink(pinPath)
}

/** The id of our program on the hook; undefined if there is none, or the cgroup is gone. */
function attached(place: CgroupAttachmentPlace): number | undefined {
  using link = BpfLink.openPinned(place.pinPath)
  const info = link?.info()
  if (info === undefined || !isOn(info, place)) return undefined
  return listCgroup(place).find((programId) => programId === info.programId)
}

function isOn(link: LinkInfo, { path, hook }: CgroupPlace): boolean {
  return link.kind === 'cgroup' && link.hook === hook && link.cgroupId === cgroupId(path)
}

export const CgroupAttachment = { attach, detach, attached } as const
