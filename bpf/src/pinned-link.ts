// One attachment of ours under a pin: the pin's path says which it is, in this process and the next.
import { renameSync } from 'node:fs'
import { BpfLink, type LinkInfo } from './link.ts'
import { unpin } from './pin.ts'
import type { BpfProgram } from './program.ts'

export interface PinnedLink {
  readonly pinPath: string
  readonly program: BpfProgram
  /** Whether a link, found at the pin, is at the place where ours belongs. */
  readonly isHere: (link: LinkInfo) => boolean
  readonly create: () => Promise<BpfLink>
}

/** Makes the pin a link at its place that runs the program: updated if it is one, else made. Idempotent. */
export async function keepPinnedLink(options: PinnedLink): Promise<void> {
  const { pinPath, program, isHere, create } = options
  using pinned = BpfLink.openPinned(pinPath)
  if (pinned !== undefined) {
    const info = pinned.info()
    if (isHere(info)) {
      if (info.programId !== program.id) await pinned.update(program)
      return
    }
  }
  using link = await create()
  if (pinned === undefined) {
    link.pin(pinPath)
    return
  }
  // The pinned link is of a place that is gone, or another: its name passes over in one step.
  const staging = `${pinPath}_new`
  unpin(staging)
  link.pin(staging)
  renameSync(staging, pinPath)
}

/** Takes it off wherever it is; false if nothing was pinned. Its place may be gone. */
export async function dropPinnedLink(pinPath: string): Promise<boolean> {
  using link = BpfLink.openPinned(pinPath)
  if (link === undefined) return false
  await link.detach()
  return unpin(pinPath)
}
