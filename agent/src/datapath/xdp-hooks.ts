// sb_xdp_uplink on devices of the node: attached in one mode and no other, replaced without a gap, taken off.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import {
  BpfError,
  type BpfProgram,
  XdpAttachment,
  type XdpHook,
  type XdpMode,
} from '@sinabro/libbpf-ts'
import type { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { codeOf } from '../runtime/log.ts'
import { DatapathError } from './error.ts'
import type { Device } from './hooks.ts'

export interface XdpHooksOptions {
  readonly linksDir: string
  readonly netlink: Pick<RouteNetlink, 'links'>
  /** The devices' namespace, if it is not this process's. */
  readonly netns?: NetworkNamespace
}

export class XdpHooks {
  readonly #options: XdpHooksOptions

  constructor(options: XdpHooksOptions) {
    this.#options = options
  }

  /** Idempotent; a packet meets the old program or the new one. @throws DatapathError xdp: what is in the way, and what to do */
  async attach(device: Device, program: BpfProgram, mode: XdpMode): Promise<void> {
    try {
      await XdpAttachment.attach({ ...this.#hook(device), program, mode })
    } catch (error) {
      throw await this.#explain(error, device, mode)
    }
  }

  isAttached(device: Device, { id }: BpfProgram, mode: XdpMode): boolean {
    const [only] = XdpAttachment.list(this.#hook(device))
    return only?.programId === id && only.mode === mode
  }

  /** The device may be gone. False if nothing was there. */
  detach(name: string): Promise<boolean> {
    return XdpAttachment.detach(this.#hook({ name, index: 0 }))
  }

  /** Names of devices that links are pinned for. */
  pinnedDevices(): string[] {
    const names = new Set<string>()
    for (const file of listFolder(this.#options.linksDir)) {
      const match = /^(.+)_(?:native|generic)(?:_new)?$/.exec(file)
      if (match?.[1] !== undefined) names.add(decodeURIComponent(match[1]))
    }
    return [...names]
  }

  /** Whatever an agent of ours left. */
  async detachAll(): Promise<void> {
    for (const name of this.pinnedDevices()) await this.detach(name)
  }

  #hook({ name, index }: Device): XdpHook {
    const { linksDir, netns } = this.#options
    // bpffs allows no dots in names; devices of the node may have them.
    const file = encodeURIComponent(name).replaceAll('.', '%2E')
    return {
      ifindex: index,
      pinPath: join(linksDir, file),
      ...(netns === undefined ? {} : { netns }),
    }
  }

  async #explain(error: unknown, { name, index }: Device, mode: XdpMode): Promise<unknown> {
    if (!(error instanceof BpfError)) return error
    const refused = (message: string) => new DatapathError('xdp', message, { cause: error })
    if (error.code === 'EBUSY' || error.code === 'EEXIST') {
      const link = await this.#options.netlink.links.get({ index })
      const whose = link?.xdpProgramId === undefined ? '' : ` ${link.xdpProgramId}`
      return refused(
        `${name} has an XDP program${whose} that is not ours: see whose it is with ` +
          `'bpftool prog show id${whose || ' ID'}', and take it off, or leave the device out with --uplinks`,
      )
    }
    if (mode === 'native') {
      return refused(
        `the driver of ${name} does not take XDP in mode native (${error.message}): look at its MTU and number of queues, ` +
          'or set --xdp generic or off',
      )
    }
    return refused(`${name} does not take XDP in mode generic (${error.message}): set --xdp off`)
  }
}

function listFolder(path: string): string[] {
  try {
    return readdirSync(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  }
}
