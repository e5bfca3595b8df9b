// Which programs a hook runs, ours and others', as BPF_PROG_QUERY tells it.
import { constants } from 'node:os'
import { check } from './error.ts'
import { native } from './native.ts'
import { array, u32 } from './struct.ts'

export interface Query {
  readonly op: string
  /** An ifindex, or the descriptor of a cgroup or of a map of sockets. */
  readonly target: number
  readonly attachType: number
  readonly netnsFd?: number
  /** `BPF_F_QUERY_EFFECTIVE`. */
  readonly flags?: number
  /** Linux 6.6, and for tcx only: EINVAL where the kernel does not know them. */
  readonly hasLinkIds?: boolean
}

export interface AttachedProgram {
  readonly programId: number
  /** 0 = attached without a link. */
  readonly linkId: number
}

/** In the order they run; link ids are 0 unless asked for. */
export function queryAttached(query: Query): AttachedProgram[] {
  const { op, target, attachType, netnsFd = -1, flags = 0, hasLinkIds = false } = query
  for (let room = 16; ; room *= 2) {
    const ids = array(u32, room)
    const programs = new Uint8Array(ids.size)
    const links = new Uint8Array(ids.size)
    const count = native().attachedQuery(
      netnsFd,
      target,
      attachType,
      flags,
      programs,
      hasLinkIds ? links : null,
    )
    if (count === -constants.errno.ENOSPC) continue
    check(count, op)
    const linkIds = ids.decode(links)
    return ids
      .decode(programs)
      .slice(0, count)
      .map((programId, i) => ({ programId, linkId: linkIds[i] ?? 0 }))
  }
}
