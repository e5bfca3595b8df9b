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
  /** Made a moment ago: nothing is on it, so nothing is looked for. */
  readonly isNew?: boolean
}

/** The programs of one device, by direction as seen from the host: ingress is what comes out of the pod, the tunnel or the wire. */
export type HookPrograms = Readonly<Partial<Record<Direction, BpfProgram>>>

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
    if (device.isNew === true && this.mode === 'clsact')
      return await this.#attachFirst(device, programs)
    for (const [direction, program] of listed(programs)) {
      await TcAttachment.attach({
        ...this.#hook(device, direction, program.name),
        program,
        mode: this.mode,
      })
    }
  }

  /** In one message. */
  async #attachFirst({ index }: Device, programs: HookPrograms): Promise<void> {
    const mark = { index, priority: TC_PRIORITY, handle: TC_HANDLE }
    const outcomes = await this.#options.netlink.batch(({ qdiscs, filters }) => [
      qdiscs.replace({ index, kind: 'clsact' }),
      ...listed(programs).map(([parent, { fd, name }]) =>
        filters.replaceBpf({ ...mark, parent, fd, name }),
      ),
    ])
    for (const one of outcomes) if (one.status === 'rejected') throw one.reason
  }

  /** Whether exactly these programs are there, in the mode that is wanted and in no other. */
  async isAttached(device: Device, programs: HookPrograms): Promise<boolean> {
    for (const [direction, { name, id }] of listed(programs)) {
      const attached = await TcAttachment.list(this.#hook(device, direction, name))
      const [only] = attached
      if (attached.length !== 1 || only?.programId !== id || only.mode !== this.mode) return false
    }
    return true
  }

  /** Whether any of ours is there, of this version or another. */
  async hasAny(device: Device, programs: HookPrograms): Promise<boolean> {
    for (const [direction, { name }] of listed(programs)) {
      if ((await TcAttachment.list(this.#hook(device, direction, name))).length > 0) return true
    }
    return false
  }

  async detach(device: Device, programs: HookPrograms): Promise<void> {
    for (const [direction, { name }] of listed(programs)) {
      await TcAttachment.detach(this.#hook(device, direction, name))
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
      if (match?.[1] !== undefined) names.add(decodeURIComponent(match[1]))
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

  /** bpffs allows no dots in names; devices of the node may have them (eth0.100). */
  #pinPath(device: string, direction: Direction): string {
    const name = encodeURIComponent(device).replaceAll('.', '%2E')
    return join(this.#options.linksDir, `${name}-${direction}`)
  }
}

function listed(programs: HookPrograms): [Direction, BpfProgram][] {
  return DIRECTIONS.flatMap((direction): [Direction, BpfProgram][] => {
    const program = programs[direction]
    return program === undefined ? [] : [[direction, program]]
  })
}

function listFolder(path: string): string[] {
  try {
    return readdirSync(path)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
}
