// An object file from open to load: constants, map sizes, maps re-used from their pins; then the owner of what it made.
import { join } from 'node:path'
import { BpfError, check } from './error.ts'
import { mapTypeName } from './kernel-info.ts'
import { BpfMap } from './map.ts'
import type { MapInfo } from './map-info.ts'
import { native, type ObjectHandle } from './native.ts'
import { openPin, pinAt, unpin } from './pin.ts'
import { BpfProgram } from './program.ts'
import { struct, u32 } from './struct.ts'

export interface OpenOptions {
  /** Values of `const volatile` variables, by name, of exactly their size. */
  readonly rodata?: Readonly<Record<string, Uint8Array>>
  /** Other sizes than the object declares, by map: one that it does not have is an error, unless it is a function that is asked. */
  readonly maxEntries?: Readonly<Record<string, number>> | ((map: string) => number | undefined)
  /** Every map is re-used from `pinDir/NAME` if something is pinned there, else created and pinned. */
  readonly pinDir?: string
}

/** What the object declares of one map; `at` is its place in the object. */
interface Declared {
  readonly at: number
  readonly name: string
  readonly type: number
  readonly keySize: number
  readonly valueSize: number
  readonly maxEntries: number
  readonly flags: number
  readonly isInternal: number
}

const definition = struct('map_definition', {
  type: u32,
  keySize: u32,
  valueSize: u32,
  maxEntries: u32,
  flags: u32,
  isInternal: u32,
})

/** The end of the log is where the verifier says what it refused. */
const LOG_TEXT_BYTES = 256 * 1024
const MESSAGES_BYTES = 8192

/** An object nobody loaded or closed: libbpf's memory is freed by the addon, the slip is reported here. */
const forgotten = new FinalizationRegistry<string>((path) => {
  process.emitWarning(`BPF object ${path} was never closed`, { code: 'SINABRO_BPF_NOT_CLOSED' })
})

/** Loads take turns, so that two objects which share a map do not both create it. */
let turn: Promise<unknown> = Promise.resolve()

export class BpfObject {
  readonly path: string
  /** Of the maps that it declares, loaded or not; without those that libbpf makes of its variables. */
  readonly mapNames: readonly string[]
  readonly #pinDir: string | undefined
  /** Undefined once loaded or closed: from then on the descriptors below are all there is. */
  #handle: ObjectHandle | undefined
  #isLoading = false
  #isClosed = false
  readonly #maps = new Map<string, BpfMap>()
  readonly #programs = new Map<string, BpfProgram>()

  private constructor(path: string, handle: ObjectHandle, pinDir: string | undefined) {
    this.path = path
    this.#handle = handle
    this.#pinDir = pinDir
    this.mapNames = declaredMaps(handle)
      .filter(({ isInternal }) => isInternal === 0)
      .map(({ name }) => name)
    forgotten.register(this, path, this)
  }

  /** Reads the file; nothing reaches the kernel before load(). */
  static open(path: string, options: OpenOptions = {}): BpfObject {
    const messages = new Uint8Array(MESSAGES_BYTES)
    const handle = native().objectOpen(path, messages)
    if (typeof handle === 'number') {
      const detail = Buffer.from(messages.subarray(0, messages.indexOf(0)))
        .toString()
        .trim()
      throw new BpfError(`open ${path}`, { errno: -handle, ...(detail === '' ? {} : { detail }) })
    }
    const object = new BpfObject(path, handle, options.pinDir)
    try {
      object.#configure(handle, options)
    } catch (error) {
      object.close()
      throw error
    }
    return object
  }

  #configure(handle: ObjectHandle, { rodata = {}, maxEntries = {} }: OpenOptions): void {
    for (const [name, value] of Object.entries(rodata)) {
      check(native().objectSetConstant(handle, name, value), `set constant ${name} of ${this.path}`)
    }
    const declared = new Map(declaredMaps(handle).map((map) => [map.name, map]))
    const sizes =
      typeof maxEntries === 'function'
        ? [...declared.keys()].map((name) => [name, maxEntries(name)] as const)
        : Object.entries(maxEntries)
    for (const [name, count] of sizes) {
      if (count === undefined) continue
      const map = declared.get(name)
      if (map === undefined) {
        throw new BpfError(`set size of map ${name} of ${this.path}`, {
          code: 'ENOENT',
          detail: 'the object has no such map',
        })
      }
      const op = `set size of map ${name} of ${this.path}`
      check(native().objectSetMaxEntries(handle, map.at, count), op)
    }
  }

  /**
   * Creates the maps and loads the programs, through the verifier, on the thread pool. All or nothing.
   * @throws BpfError 'verifier' with its log; 'layout' if a pinned map differs from the declared one
   */
  async load(): Promise<void> {
    const mine = turn.then(() => this.#load())
    turn = mine.catch(() => undefined)
    await mine
  }

  async #load(): Promise<void> {
    const handle = this.#handle
    if (handle === undefined || this.#isClosed) {
      throw new BpfError(`load ${this.path}`, { code: 'EBADF', detail: 'already loaded or closed' })
    }
    const toPin = this.#pinDir === undefined ? [] : reusePinned(handle, this.#pinDir)
    this.#isLoading = true
    const result = await native().objectLoad(handle)
    this.#isLoading = false
    const pinned: string[] = []
    try {
      if (this.#isClosed) throw new BpfError(`load ${this.path}`, { code: 'ECANCELED' })
      if (result < 0) throw loadError(this.path, handle, -result)
      this.#takeDescriptors(handle)
      for (const { name, path } of toPin) {
        pinAt(this.map(name).fd, path)
        pinned.push(path)
      }
    } catch (error) {
      for (const path of pinned) unpin(path)
      this.close()
      throw error
    }
    this.#dropHandle()
  }

  /** From here on each map and program has an owner of its own and libbpf's memory can go. */
  #takeDescriptors(handle: ObjectHandle): void {
    for (const { at, name, isInternal } of declaredMaps(handle)) {
      if (isInternal !== 0) continue
      const fd = check(native().objectMapFd(handle, at), `descriptor of map ${name}`)
      this.#maps.set(name, new BpfMap(fd))
    }
    for (const [at, name] of names((at) => native().objectProgramName(handle, at)).entries()) {
      const fd = check(native().objectProgramFd(handle, at), `descriptor of program ${name}`)
      this.#programs.set(name, new BpfProgram(fd, name))
    }
  }

  #dropHandle(): void {
    if (this.#handle === undefined) return
    native().objectClose(this.#handle)
    this.#handle = undefined
    forgotten.unregister(this)
  }

  /** After load(). Belongs to this object: close() closes it. */
  map(name: string): BpfMap {
    return this.#found('map', name, this.#maps.get(name))
  }

  /** After load(). Belongs to this object: close() closes it. */
  program(name: string): BpfProgram {
    return this.#found('program', name, this.#programs.get(name))
  }

  get maps(): BpfMap[] {
    return [...this.#maps.values()]
  }

  get programs(): BpfProgram[] {
    return [...this.#programs.values()]
  }

  /** Safe twice, and while loading: then the load fails with ECANCELED. */
  close(): void {
    this.#isClosed = true
    if (this.#isLoading) return
    for (const map of this.#maps.values()) map.close()
    for (const program of this.#programs.values()) program.close()
    this.#dropHandle()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #found<T>(what: 'map' | 'program', name: string, found: T | undefined): T {
    const op = `${what} ${name} of ${this.path}`
    if (this.#isClosed) throw new BpfError(op, { code: 'EBADF', detail: 'already closed' })
    if (found !== undefined) return found
    const detail =
      this.#handle === undefined ? 'the object has none of that name' : 'not loaded yet'
    throw new BpfError(op, { code: 'ENOENT', detail })
  }
}

/** Until the addon says there is no more. */
function names(nameAt: (at: number) => string | number): string[] {
  const found: string[] = []
  for (let name = nameAt(0); typeof name === 'string'; name = nameAt(found.length)) {
    found.push(name)
  }
  return found
}

function declaredMaps(handle: ObjectHandle): Declared[] {
  return names((at) => native().objectMapName(handle, at)).map((name, at) => {
    const bytes = new Uint8Array(definition.size)
    check(native().objectMapDefinition(handle, at, bytes), `definition of map ${name}`)
    return { at, name, ...definition.decode(bytes) }
  })
}

/** Gives libbpf the maps that are pinned already; returns those that are not. */
function reusePinned(handle: ObjectHandle, pinDir: string): { name: string; path: string }[] {
  const toPin: { name: string; path: string }[] = []
  for (const declared of declaredMaps(handle)) {
    if (declared.isInternal !== 0) continue
    const path = join(pinDir, declared.name)
    const fd = openPin(path)
    if (fd === undefined) {
      toPin.push({ name: declared.name, path })
      continue
    }
    using pinned = new BpfMap(fd)
    const differences = compare(declared, pinned.info)
    if (differences.length > 0) {
      throw new BpfError(`re-use map ${declared.name} from ${path}`, {
        code: 'layout',
        detail: differences.join(', '),
      })
    }
    check(
      native().objectReuseMap(handle, declared.at, pinned.fd),
      `re-use map ${declared.name} from ${path}`,
    )
  }
  return toPin
}

function compare(declared: Declared, pinned: MapInfo): string[] {
  const want = { ...declared, type: mapTypeName(declared.type) }
  const fields = ['type', 'keySize', 'valueSize', 'maxEntries', 'flags'] as const
  return fields
    .filter((field) => want[field] !== pinned[field])
    .map((field) => `${field} is ${pinned[field]}, expected ${want[field]}`)
}

function loadError(path: string, handle: ObjectHandle, errno: number): BpfError {
  const log = String(native().objectLog(handle, LOG_TEXT_BYTES))
  const detail = spoken(String(native().objectMessages(handle)))
  // Without a log the verifier was never reached: a map, BTF or a privilege is the reason.
  if (log === '') return new BpfError(`load ${path}`, { errno, detail })
  return new BpfError(`load ${path}`, { code: 'verifier', errno, detail, verifierLog: log })
}

/** libbpf's warnings on one line. */
function spoken(messages: string): string {
  return messages.replaceAll('libbpf: ', '').trim().replaceAll('\n', '; ')
}
