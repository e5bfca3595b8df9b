// The one owner of the addon: its whole surface, typed. Negative numbers are -errno; nobody but this package calls it.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { join } from 'node:path'

declare const objectHandle: unique symbol
/** An opened object file; belongs to the BpfObject that opened it. */
export type ObjectHandle = { readonly [objectHandle]: true }

declare const pollHandle: unique symbol
/** A descriptor watched by the event loop. */
export type PollHandle = { readonly [pollHandle]: true }

declare const ringHandle: unique symbol
/** The mapped memory of a ring buffer. */
export type RingHandle = { readonly [ringHandle]: true }

export interface Native {
  possibleCpus(): number

  mapCreate(
    type: number,
    keySize: number,
    valueSize: number,
    maxEntries: number,
    flags: number,
    name: string,
    innerFd: number,
  ): number
  mapOfId(id: number): number
  mapLookup(fd: number, key: Uint8Array, value: Uint8Array, flags: number): number
  mapUpdate(fd: number, key: Uint8Array, value: Uint8Array, flags: number): number
  mapDelete(fd: number, key: Uint8Array): number
  mapNextKey(fd: number, key: Uint8Array | null, next: Uint8Array): number
  /** `count` holds one host-order u32: room in, number out, for all three. */
  mapLookupBatch(
    fd: number,
    from: Uint8Array | null,
    next: Uint8Array,
    keys: Uint8Array,
    values: Uint8Array,
    count: Uint8Array,
  ): number
  /** The same on the thread pool: the buffers are the kernel's until it is settled. */
  mapReadBatch(
    fd: number,
    from: Uint8Array | null,
    next: Uint8Array,
    keys: Uint8Array,
    values: Uint8Array,
    count: Uint8Array,
  ): Promise<number> | number
  mapUpdateBatch(
    fd: number,
    keys: Uint8Array,
    values: Uint8Array,
    count: Uint8Array,
    flags: number,
  ): number
  mapDeleteBatch(fd: number, keys: Uint8Array, count: Uint8Array): number

  pin(fd: number, path: string): number
  getPinned(path: string): number
  /** Fills `into` as BPF_OBJ_GET_INFO_BY_FD does; returns how many bytes the kernel knows. */
  info(fd: number, into: Uint8Array): number
  copyFd(fd: number): number
  close(fd: number): number

  /** `netnsFd` -1 = this process's namespace; `target` an ifindex or the descriptor of a cgroup. */
  linkCreate(
    netnsFd: number,
    programFd: number,
    target: number,
    attachType: number,
    flags: number,
  ): Promise<number> | number
  linkUpdate(linkFd: number, programFd: number): Promise<number> | number
  linkDetach(linkFd: number): Promise<number> | number
  /** Fills two arrays of host-order u32 in the order the programs run; returns how many. */
  attachedQuery(
    netnsFd: number,
    target: number,
    attachType: number,
    flags: number,
    programIds: Uint8Array,
    linkIds: Uint8Array | null,
  ): number
  programAttach(programFd: number, targetFd: number, attachType: number): number
  programDetach(programFd: number, targetFd: number, attachType: number): number
  /** `mapFd` -1 = an iterator over something else than a map's entries. */
  iteratorLink(programFd: number, mapFd: number): number
  iteratorOpen(linkFd: number): number

  objectOpen(path: string, messages: Uint8Array): ObjectHandle | number
  objectClose(object: ObjectHandle): number
  objectMapName(object: ObjectHandle, at: number): string | number
  objectMapDefinition(object: ObjectHandle, at: number, into: Uint8Array): number
  objectSetMaxEntries(object: ObjectHandle, at: number, maxEntries: number): number
  objectReuseMap(object: ObjectHandle, at: number, fd: number): number
  objectMapFd(object: ObjectHandle, at: number): number
  objectProgramName(object: ObjectHandle, at: number): string | number
  objectProgramFd(object: ObjectHandle, at: number): number
  objectSetConstant(object: ObjectHandle, name: string, value: Uint8Array): number
  objectLoad(object: ObjectHandle): Promise<number> | number
  objectLog(object: ObjectHandle, maxBytes: number): string | number
  objectMessages(object: ObjectHandle): string | number

  /** 1, 0 or -errno. */
  helperProbe(programType: number, helper: number): number
  programLoad(type: number, instructions: Uint8Array): number

  /** `netnsFd` -1 = this process's namespace. */
  programTestRun(
    fd: number,
    dataIn: Uint8Array | null,
    dataOut: Uint8Array | null,
    ctxIn: Uint8Array | null,
    ctxOut: Uint8Array | null,
    repeat: number,
    flags: number,
    netnsFd: number,
    result: Uint8Array,
  ): number
  programRun(fd: number, ctx: Uint8Array | null): Promise<number> | number
  statsEnable(type: number): number

  /** Once in each turn of the loop in which there is something to read; `status` is 0 or -errno. */
  pollStart(fd: number, onReadable: (status: number) => void): PollHandle | number
  pollStop(poll: PollHandle): number
  pollRef(poll: PollHandle, isRef: 0 | 1): number

  ringOpen(fd: number, size: number): RingHandle | number
  /** Writes records one behind the other: u32 size, u32 pad, bytes, each on 8 bytes; returns how many bytes. */
  ringRead(ring: RingHandle, into: Uint8Array, maxRecords: number): number
  ringPending(ring: RingHandle): number
  ringClose(ring: RingHandle): number
}

let loaded: Native | undefined

/** Loaded on first use, so that a command which needs no BPF does not need libbpf either. */
export function native(): Native {
  loaded ??= createRequire(import.meta.url)(addonPath()) as Native
  return loaded
}

const noBatch = (): number => -constants.errno.EOPNOTSUPP

/** From now on as on a kernel without the batch commands, for this whole process: for tests of what is done then. */
export function pretendNoBatch(): void {
  loaded = {
    ...native(),
    mapLookupBatch: noBatch,
    mapReadBatch: noBatch,
    mapUpdateBatch: noBatch,
    mapDeleteBatch: noBatch,
  }
}

function addonPath(): string {
  const libDir = process.env.SINABRO_LIB_DIR
  if (libDir !== undefined) {
    const shipped = join(libDir, 'libbpf.node')
    if (existsSync(shipped)) return shipped
  }
  return new URL('../build/libbpf.node', import.meta.url).pathname
}
