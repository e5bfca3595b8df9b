// Our programs on the hooks of a device: attached, replaced without a gap, recognised, forgotten.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import {
  type BpfProgram,
  type Direction,
  TcAttachment,
  type TcHook,
  type TcMode,
  unpin,
} from '@sinabro/libbpf-ts'
import type { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { TC_HANDLE, TC_PRIORITY } from '../marks.ts'

export interface Device {
  readonly name: string
  readonly index: number
}

/** The programs of one device, by direction as seen from the host: ingress is what comes out of the pod or the tunnel. */
export type HookPrograms = Readonly<Record<Direction, BpfProgram>>

export interface HooksOptions {
  readonly linksDir: string
  readonly mode: TcMode
  readonly netlink: RouteNetlink
  /** The devices' namespace, if it is not this process's. */
  readonly netns?: NetworkNamespace
}

const DIRECTIONS: readonly Direction[] = ['ingress', 'egress']

export class Hooks {
  readonly mode: TcMode
  readonly #options: HooksOptions

  constructor(options: HooksOptions) {
    this.#options = options
    this.mode = options.mode
  }

  /** Idempotent; a packet meets the old program or the new one, never none. */
  async attach(device: Device, programs: HookPrograms): Promise<void> {
    for (const direction of DIRECTIONS) {
      const program = programs[direction]
      await TcAttachment.attach({
        ...this.#hook(device, direction, program.name),
        program,
        mode: this.mode,
      })
    }
  }

  /** Whether exactly these programs are there, in the mode that is wanted and in no other. */
  async isAttached(device: Device, programs: HookPrograms): Promise<boolean> {
    for (const direction of DIRECTIONS) {
      const { name, id } = programs[direction]
      const attached = await TcAttachment.list(this.#hook(device, direction, name))
      const [only] = attached
      if (attached.length !== 1 || only?.programId !== id || only.mode !== this.mode) return false
    }
    return true
  }

  async detach(device: Device, programs: HookPrograms): Promise<void> {
    for (const direction of DIRECTIONS) {
      await TcAttachment.detach(this.#hook(device, direction, programs[direction].name))
    }
  }

  /** For a device that is gone: its filters went with it, the pinned links did not. */
  forget(name: string): void {
    for (const direction of DIRECTIONS) unpin(this.#pinPath(name, direction))
  }

  /** Names of devices that links are pinned for. */
  pinnedDevices(): string[] {
    const names = new Set<string>()
    for (const file of listFolder(this.#options.linksDir)) {
      const match = /^(.+)-(?:ingress|egress)(?:_new)?$/.exec(file)
      if (match?.[1] !== undefined) names.add(match[1])
    }
    return [...names]
  }

  #hook(device: Device, direction: Direction, name: string): TcHook {
    const { netlink, netns } = this.#options
    return {
      ifindex: device.index,
      direction,
      pinPath: this.#pinPath(device.name, direction),
      priority: TC_PRIORITY,
      handle: TC_HANDLE,
      name,
      netlink,
      ...(netns === undefined ? {} : { netns }),
    }
  }

  /** bpffs allows no dots in names, and neither do the names of our devices have any. */
  #pinPath(device: string, direction: Direction): string {
    return join(this.#options.linksDir, `${device}-${direction}`)
  }
}

function listFolder(path: string): string[] {
  try {
    return readdirSync(path)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
}
