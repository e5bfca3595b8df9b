// Programs that a sockmap or sockhash runs on the data of the sockets in it: put there, replaced, taken off.
import { constants } from 'node:os'
import { type SocketHook, socketTypes } from './attach-type.ts'
import { queryAttached } from './attached.ts'
import { check } from './error.ts'
import type { BpfMap } from './map.ts'
import { native } from './native.ts'
import type { BpfProgram } from './program.ts'

/** One of the four hooks of a map of sockets. */
export interface SocketMapHook {
  readonly map: BpfMap
  readonly hook: SocketHook
}

/**
 * Makes `program` the one on the hook, in one step if another was there. It stays as long as the map lives, so a pinned
 * map needs no pinned link. It counts for sockets that enter the map from now on.
 * @throws BpfError EOPNOTSUPP for a map of other things, EINVAL for a program of another kind
 */
function attach({ map, hook, program }: SocketMapHook & { readonly program: BpfProgram }): void {
  const op = `attach ${program.name} to map ${map.info.name} ${hook}`
  check(native().programAttach(program.fd, map.fd, socketTypes[hook]), op)
}

/** False if that very program was not there. */
function detach({ map, hook, program }: SocketMapHook & { readonly program: BpfProgram }): boolean {
  const result = native().programDetach(program.fd, map.fd, socketTypes[hook])
  if (result === -constants.errno.ENOENT) return false
  check(result, `detach ${program.name} from map ${map.info.name} ${hook}`)
  return true
}

/** The id of the program on the hook, whoever put it there. */
function attached({ map, hook }: SocketMapHook): number | undefined {
  const op = `BPF_PROG_QUERY map ${map.info.name} ${hook}`
  return queryAttached({ op, target: map.fd, attachType: socketTypes[hook] })[0]?.programId
}

export const SocketMapAttachment = { attach, detach, attached } as const
