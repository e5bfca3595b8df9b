// A folder whose changes are on disk before they are reported done: whole files, renames and removals, with one flush for many.
//
// Only waiting for the disk goes to the thread pool. The rest of a write is five calls of microseconds each, and a turn through
// the pool costs more than that: twice the time of an uncontended write, and the same when a hundred come at once.
import {
  closeSync,
  constants,
  fdatasync,
  fsync,
  lstatSync,
  openSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { appendFile, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { codeOf } from '../runtime/log.ts'
import type { CrashPoint } from './crash-point.ts'
import { IpamError } from './errors.ts'

const UNFINISHED = '.new'
const syncData = promisify(fdatasync)
const syncAll = promisify(fsync)

export class DurableFolder {
  readonly path: string
  readonly #crashPoint: CrashPoint
  #flushing: Promise<void> | undefined
  #nextFlush: Promise<void> | undefined

  private constructor(path: string, crashPoint: CrashPoint) {
    this.path = path
    this.#crashPoint = crashPoint
  }

  /** Makes it if it is not there (its parent too) and drops what an earlier process left unfinished. @throws IpamError */
  static async open(path: string, crashPoint: CrashPoint): Promise<DurableFolder> {
    return await storage(`open ${path}`, async () => {
      await mkdir(path, { recursive: true, mode: 0o700 })
      for (const name of await readdir(path)) {
        if (name.startsWith('.') && name.endsWith(UNFINISHED)) {
          await rm(join(path, name), { force: true })
        }
      }
      return new DurableFolder(path, crashPoint)
    })
  }

  async names(): Promise<string[]> {
    const names = await storage(`list ${this.path}`, () => readdir(this.path))
    return names.filter((name) => !name.startsWith('.')).sort()
  }

  has(name: string): boolean {
    return lstatSync(join(this.path, name), { throwIfNoEntry: false }) !== undefined
  }

  async read(name: string): Promise<string | undefined> {
    try {
      return await readFile(join(this.path, name), 'utf8')
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined
      throw asStorageError(`read ${join(this.path, name)}`, error)
    }
  }

  /**
   * The file holds either what it held before or all of this, at every moment; after an error it may be either. `what` names the
   * crash points.
   */
  async write(name: string, text: string, what: string): Promise<void> {
    const path = join(this.path, name)
    const temporary = join(this.path, `.${name}${UNFINISHED}`)
    await storage(`write ${path}`, async () => {
      try {
        const file = openSync(temporary, 'w', 0o600)
        try {
          writeFileSync(file, text)
          await syncData(file)
        } finally {
          closeSync(file)
        }
        await this.#crashPoint(`${what}.written`)
        renameSync(temporary, path)
      } catch (error) {
        removeQuietly(temporary)
        throw error
      }
      await this.#crashPoint(`${what}.renamed`)
      await this.flush()
      await this.#crashPoint(`${what}.durable`)
    })
  }

  /** Absent already is done. */
  async remove(name: string, what: string): Promise<void> {
    await storage(`remove ${join(this.path, name)}`, async () => {
      unlinkIfThere(join(this.path, name))
      await this.#crashPoint(`${what}.removed`)
      await this.flush()
      await this.#crashPoint(`${what}.removal-durable`)
    })
  }

  /** Moves a file into another folder, never over one that is there: the caller chooses a free name. `what` names the crash points. */
  async moveTo(other: DurableFolder, name: string, newName: string, what: string): Promise<void> {
    await storage(`move ${join(this.path, name)} to ${other.path}`, async () => {
      await rename(join(this.path, name), join(other.path, newName))
      await this.#crashPoint(`${what}.moved`)
      await other.flush()
      await this.flush()
      await this.#crashPoint(`${what}.move-durable`)
    })
  }

  /** Adds to a file without waiting for the disk: for what is useful to remember, not what must be. */
  async append(name: string, text: string, what: string): Promise<void> {
    const path = join(this.path, name)
    await storage(`append to ${path}`, () => appendFile(path, text, { mode: 0o600 }))
    await this.#crashPoint(`${what}.appended`)
  }

  /** Every change made before the call is on disk when it resolves; calls that come together share one fsync. */
  flush(): Promise<void> {
    this.#nextFlush ??= (this.#flushing ?? Promise.resolve())
      .catch(() => undefined)
      .then(() => {
        this.#flushing = this.#nextFlush
        this.#nextFlush = undefined
        return flushFolder(this.path)
      })
    return this.#nextFlush
  }
}

async function flushFolder(path: string): Promise<void> {
  const folder = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await syncAll(folder)
  } finally {
    closeSync(folder)
  }
}

/** Not rmSync(): its errors have no code. And looked for first, because a read-only disk refuses before it looks. */
function unlinkIfThere(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) unlinkSync(path)
}

function removeQuietly(path: string): void {
  try {
    unlinkIfThere(path)
  } catch {
    // The error that brought us here says more, and the next start drops what is unfinished.
  }
}

async function storage<T>(op: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    throw asStorageError(op, error)
  }
}

function asStorageError(op: string, error: unknown): unknown {
  const code = codeOf(error)
  // Without an errno it is no failure of the disk but a bug, or a test that stops the world.
  if (error instanceof IpamError || code === undefined || !/^E[A-Z0-9]+$/.test(code)) return error
  const cause = { cause: error }
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new IpamError('disk-full', `${op}: no space left; free some, then try again`, cause)
    case 'EROFS':
    case 'EACCES':
    case 'EPERM':
      return new IpamError('read-only', `${op}: not allowed to write there (${code})`, cause)
    default:
      return new IpamError('storage', `${op}: ${code}`, cause)
  }
}
