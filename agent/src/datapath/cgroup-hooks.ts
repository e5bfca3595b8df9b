// Our programs on the sockets of the whole node: attached to the root of its cgroups, replaced without a gap, looked after.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  BpfError,
  type BpfProgram,
  CgroupAttachment,
  type CgroupAttachmentPlace,
  type CgroupHook,
  cgroupId,
  listCgroup,
  listCgroupEffective,
} from '@sinabro/libbpf-ts'
import { codeOf } from '../runtime/log.ts'
import { DatapathError } from './error.ts'

/** In the order in which they are attached: who is sent to a backend finds answers in the service's name already. */
export const SOCKET_HOOKS = [
  'getpeername4',
  'getpeername6',
  'recvmsg4',
  'recvmsg6',
  'sendmsg4',
  'sendmsg6',
  'connect4',
  'connect6',
] as const satisfies readonly CgroupHook[]
export type SocketPrograms = Readonly<Record<(typeof SOCKET_HOOKS)[number], BpfProgram>>

/** `CGROUP_ROOT_ID` of the kernel's cgroup2: the inode of its root. */
const MACHINE_ROOT_ID = 1n

export interface CgroupHooksOptions {
  readonly linksDir: string
  /** Undefined: findCgroupRoot(). */
  readonly root?: string | undefined
}

export class CgroupHooks {
  readonly #options: CgroupHooksOptions

  constructor(options: CgroupHooksOptions) {
    this.#options = options
  }

  /** Idempotent; a call meets the old program or the new one, never none. @throws DatapathError cgroup */
  async attach(programs: SocketPrograms): Promise<void> {
    const root = this.#root()
    for (const hook of SOCKET_HOOKS) {
      const place = this.#place(root, hook)
      try {
        await CgroupAttachment.attach({ ...place, program: programs[hook] })
      } catch (error) {
        throw explain(error, place)
      }
    }
    const idle = SOCKET_HOOKS.filter((hook) => !isEffective(this.#place(root, hook), programs))
    if (idle.length > 0) {
      throw new DatapathError(
        'cgroup',
        `programs on ${idle.join(', ')} of ${root} are attached and do not run: see 'bpftool cgroup show ${root} effective'`,
      )
    }
  }

  /** Whether exactly these programs are there and run. @throws DatapathError cgroup */
  isAttached(programs: SocketPrograms): boolean {
    const root = this.#root()
    return SOCKET_HOOKS.every((hook) => isEffective(this.#place(root, hook), programs))
  }

  /** Whatever an agent of ours attached, wherever. False if there was nothing. */
  async detach(): Promise<boolean> {
    const { linksDir } = this.#options
    let wasThere = false
    const pinned = listFolder(linksDir)
    // Nobody is sent to a backend any more before answers lose the service's name.
    const last = (name: string) => /^(recvmsg|getpeername)/.test(name)
    for (const name of [...pinned.filter((one) => !last(one)), ...pinned.filter(last)]) {
      wasThere = (await CgroupAttachment.detach({ pinPath: join(linksDir, name) })) || wasThere
    }
    return wasThere
  }

  #root(): string {
    const { root: asked } = this.#options
    if (asked !== undefined) return asked
    const found = findCgroupRoot()
    if (found === undefined) {
      throw new DatapathError(
        'cgroup',
        'no cgroup2 is mounted, so sockets cannot be asked which service they mean: mount -t cgroup2 cgroup2 /sys/fs/cgroup, ' +
          'or name where it is with --cgroup-root',
      )
    }
    // Attached there, programs would see this process and nobody else, and nothing would say so.
    if (!found.isAbove && cgroupId(found.path) !== MACHINE_ROOT_ID && isAtRoot()) {
      throw new DatapathError(
        'cgroup',
        `${found.path} has the cgroups of this container only: mount the node's into it, and name where with --cgroup-root`,
      )
    }
    return found.path
  }

  #place(root: string, hook: (typeof SOCKET_HOOKS)[number]): CgroupAttachmentPlace {
    return { path: root, hook, pinPath: join(this.#options.linksDir, hook) }
  }
}

function isEffective(place: CgroupAttachmentPlace, programs: SocketPrograms): boolean {
  const { id } = programs[place.hook as keyof SocketPrograms]
  return CgroupAttachment.attached(place) === id && listCgroupEffective(place).includes(id)
}

function explain(error: unknown, { path, hook }: CgroupAttachmentPlace): unknown {
  if (!(error instanceof BpfError)) return error
  if (error.code === 'EBADF' || error.code === 'ENOENT') {
    const message = `${path} is no directory of cgroup2: name the root of the node's cgroups with --cgroup-root`
    return new DatapathError('cgroup', message, { cause: error })
  }
  if (error.code !== 'EPERM') return error
  // Attached without BPF_F_ALLOW_MULTI, a program allows no other beside it.
  const others = listCgroup({ path, hook })
  const whose = others.length === 0 ? 'a program above it' : `program ${others.join(', ')}`
  return new DatapathError(
    'cgroup',
    `${whose} on ${hook} of ${path} lets no other run beside it, so sockets do not find services: ` +
      `see whose it is with 'bpftool cgroup show ${path}', and have it attached with multi`,
    { cause: error },
  )
}

/** Whether this process is in the root of the cgroups that it sees: cgroups(7), /proc/[pid]/cgroup. */
function isAtRoot(): boolean {
  return readFileSync('/proc/self/cgroup', 'utf8').split('\n').includes('0::/')
}

export interface CgroupMount {
  readonly path: string
  /** It begins above the root of the cgroups that this process sees: the node's, mounted into a container. */
  readonly isAbove: boolean
}

/** Where cgroup2 is mounted; of several the one that begins highest. */
export function findCgroupRoot(
  mountinfo = readFileSync('/proc/self/mountinfo', 'utf8'),
): CgroupMount | undefined {
  // proc(5): id, parent, device, root of the mount, where it is, options, …, '-', type, …. The root is as seen from our own:
  // `/..` is above it.
  const mounts = mountinfo
    .split('\n')
    .map((line) => line.split(' '))
    .filter((fields) => fields[fields.indexOf('-') + 1] === 'cgroup2')
    .map(([, , , root = '', path = '']) => ({ path: unescapePath(path), height: heightOf(root) }))
    .sort((a, b) => b.height - a.height)
  const [highest] = mounts
  return highest === undefined ? undefined : { path: highest.path, isAbove: highest.height > 0 }
}

/** 0 for `/`; how many `/..` it is above that, or less than 0 for what is below. */
function heightOf(root: string): number {
  const parts = root.split('/').filter((part) => part !== '')
  const above = parts.filter((part) => part === '..').length
  return above - (parts.length - above)
}

/** Spaces and the like are octal there. */
function unescapePath(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  )
}

function listFolder(path: string): string[] {
  try {
    return readdirSync(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  }
}
