// The one owner of the addon: its whole surface, typed. Negative numbers are -errno; nobody but this package calls it.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

declare const objectHandle: unique symbol
/** An opened object file; belongs to the BpfObject that opened it. */
export type ObjectHandle = { readonly [objectHandle]: true }

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
  close(fd: number): number

  /** `netnsFd` -1 = this process's namespace. */
  linkCreate(
    netnsFd: number,
    programFd: number,
    ifindex: number,
    attachType: number,
    flags: number,
  ): Promise<number> | number
  linkUpdate(linkFd: number, programFd: number): number
  linkDetach(linkFd: number): Promise<number> | number
  /** Fills two arrays of host-order u32 in the order the programs run; returns how many. */
  attachedQuery(
    netnsFd: number,
    ifindex: number,
    attachType: number,
    programIds: Uint8Array,
    linkIds: Uint8Array,
  ): number

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

  programTestRun(
    fd: number,
    dataIn: Uint8Array | null,
    dataOut: Uint8Array | null,
    ctxIn: Uint8Array | null,
    ctxOut: Uint8Array | null,
    repeat: number,
    flags: number,
    result: Uint8Array,
  ): number
  programRun(fd: number, ctx: Uint8Array | null): Promise<number> | number
}

let loaded: Native | undefined

/** Loaded on first use, so that a command which needs no BPF does not need libbpf either. */
export function native(): Native {
  loaded ??= createRequire(import.meta.url)(addonPath()) as Native
  return loaded
}

function addonPath(): string {
  const libDir = process.env.SINABRO_LIB_DIR
  if (libDir !== undefined) {
    const shipped = join(libDir, 'libbpf.node')
    if (existsSync(shipped)) return shipped
  }
  return new URL('../build/libbpf.node', import.meta.url).pathname
}
