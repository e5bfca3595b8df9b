// Our XDP program on a device, held by a pin: put there, replaced without a gap, found again, taken off.
import { BpfError } from './error.ts'
import { BpfLink, type LinkInfo, type XdpMode, type XdpPlace } from './link.ts'
import { dropPinnedLink, keepPinnedLink } from './pinned-link.ts'
import type { BpfProgram } from './program.ts'

export interface XdpHook extends XdpPlace {
  /** Where the link is pinned, with `_native` or `_generic` behind it: a link does not tell its mode. */
  readonly pinPath: string
}

export interface XdpAttachOptions extends XdpHook {
  readonly program: BpfProgram
  /** auto: as it is attached now, else native where the driver can and generic where it cannot. */
  readonly mode: 'auto' | XdpMode
}

export interface XdpAttached {
  readonly mode: XdpMode
  readonly programId: number
}

const modes: readonly XdpMode[] = ['native', 'generic']

/**
 * Makes `program` the one on the device; packets meet the old one or the new one, never none, unless the mode changes:
 * a device has one mode at a time. Idempotent; one call at a time for each device. Returns the mode it took.
 * @throws BpfError EBUSY or EEXIST if somebody else's program is there; EOPNOTSUPP if the driver has no native mode
 */
async function attach(options: XdpAttachOptions): Promise<XdpMode> {
  if (options.mode !== 'auto') return attachAs(options.mode, options)
  const present = list(options)[0]
  if (present !== undefined) return attachAs(present.mode, options)
  try {
    return await attachAs('native', options)
  } catch (error) {
    if (!(error instanceof BpfError && error.code === 'EOPNOTSUPP')) throw error
    return attachAs('generic', options)
  }
}

async function attachAs(mode: XdpMode, options: XdpAttachOptions): Promise<XdpMode> {
  const { program } = options
  for (const other of modes) if (other !== mode) await dropPinnedLink(pinOf(options, other))
  await keepPinnedLink({
    pinPath: pinOf(options, mode),
    program,
    isHere: (link) => isOn(link, options),
    create: () => BpfLink.createXdp({ ...options, mode }),
  })
  return mode
}

/** False if nothing was there. The device may be gone. */
async function detach(hook: XdpHook): Promise<boolean> {
  let had = false
  for (const mode of modes) had = (await dropPinnedLink(pinOf(hook, mode))) || had
  return had
}

/** What of ours is on the device: nothing or one. */
function list(hook: XdpHook): XdpAttached[] {
  return modes.flatMap((mode) => {
    using link = BpfLink.openPinned(pinOf(hook, mode))
    const info = link?.info()
    return info !== undefined && isOn(info, hook) ? [{ mode, programId: info.programId }] : []
  })
}

function pinOf({ pinPath }: XdpHook, mode: XdpMode): string {
  return `${pinPath}_${mode}`
}

/** 0 is what the link of a device that is gone says. */
function isOn(link: LinkInfo, { ifindex }: XdpHook): boolean {
  return link.kind === 'xdp' && link.ifindex === ifindex && ifindex !== 0
}

export const XdpAttachment = { attach, detach, list } as const
