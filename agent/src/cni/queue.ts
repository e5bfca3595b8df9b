// Removals that found no agent: read before the first ADD is served, then watched; each removed only when its effect is on disk.
import { constants, watch } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { type CniRequest, limits, queueDirName } from '@sinabro/cni/wire'
import type { Log } from '../runtime/log.ts'
import { CniError } from './error.ts'
import { decodeNetworkRequest, decodeRequest, decodeValidAttachments } from './request.ts'

export interface DelQueueDeps {
  readonly stateDir: string
  readonly del: (request: CniRequest) => Promise<void>
  readonly gc: (request: CniRequest) => Promise<void>
  readonly log: Log
}

/** Where files go that cannot be read: for a person to look at, never guessed, never tried again. */
const UNREADABLE_DIR = 'queue-unreadable'
/** A name with a dot is being written, unless it is older than this. */
const ABANDONED_AFTER_MS = 3_600_000

export class DelQueue {
  readonly #deps: DelQueueDeps
  readonly #folder: string

  constructor(deps: DelQueueDeps) {
    this.#deps = deps
    this.#folder = join(deps.stateDir, queueDirName)
  }

  /**
   * Works off all there is, in the order of the names.
   * @throws what the first failing removal threw; its file and those after it stay
   */
  async replay(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    const names = (await readdir(this.#folder)).sort()
    for (const name of names) {
      if (name.startsWith('.')) await this.#clearAbandoned(name)
      else await this.#settle(name)
    }
  }

  /** Replays at every change of the folder until the signal is aborted. */
  async watch(signal: AbortSignal, alive: () => void): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    let wake: () => void = () => undefined
    let failed: unknown
    // Before the first read, so that nothing falls between the two.
    const watcher = watch(this.#folder, () => wake())
    watcher.on('error', (error) => {
      failed = error
      wake()
    })
    signal.addEventListener('abort', () => wake(), { once: true })
    try {
      while (!signal.aborted) {
        const changed = new Promise<void>((resolve) => {
          wake = resolve
        })
        await this.replay()
        alive()
        if (!signal.aborted) await changed
        if (failed !== undefined) throw failed
      }
    } finally {
      watcher.close()
    }
  }

  async #settle(name: string): Promise<void> {
    const { log } = this.#deps
    const path = join(this.#folder, name)
    let run: () => Promise<void>
    try {
      run = this.#decode(await readFile(path, 'utf8'))
    } catch (error) {
      if (isGone(error)) return
      if (!(error instanceof CniError || error instanceof SyntaxError)) throw error
      log.error({ file: path, error }, 'queued removal cannot be read: set aside')
      await this.#setAside(name)
      return
    }
    await run()
    await unlink(path)
    await syncFolder(this.#folder)
  }

  #decode(text: string): () => Promise<void> {
    if (text.length > limits.requestBytes) throw new CniError(0, 'queue entry: too large')
    const entry: unknown = JSON.parse(text)
    if (typeof entry !== 'object' || entry === null || !('format' in entry) || entry.format !== 1) {
      throw new CniError(0, 'queue entry: unknown format')
    }
    const verb = 'verb' in entry ? entry.verb : undefined
    const body = 'request' in entry ? entry.request : undefined
    if (verb === 'DEL') {
      const request = decodeRequest(body)
      return () => this.#deps.del(request)
    }
    if (verb === 'GC') {
      const request = decodeNetworkRequest(body)
      decodeValidAttachments(request.config)
      return () => this.#deps.gc(request)
    }
    throw new CniError(0, 'queue entry: neither DEL nor GC')
  }

  async #setAside(name: string): Promise<void> {
    const folder = join(this.#deps.stateDir, UNREADABLE_DIR)
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await rename(join(this.#folder, name), join(folder, name))
  }

  async #clearAbandoned(name: string): Promise<void> {
    const path = join(this.#folder, name)
    try {
      const { mtimeMs } = await stat(path)
      if (Date.now() - mtimeMs > ABANDONED_AFTER_MS) await unlink(path)
    } catch (error) {
      if (!isGone(error)) throw error
    }
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
