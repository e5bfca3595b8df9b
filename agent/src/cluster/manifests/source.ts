// Fills the cluster tables from a directory of YAML files and follows changes: watched, and listed again now and then.
import { type BigIntStats, type FSWatcher, statSync, watch } from 'node:fs'
import { lstat, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../runtime/clock.ts'
import type { Jobs } from '../../runtime/jobs.ts'
import { codeOf, type Log } from '../../runtime/log.ts'
import { problem } from '../claims.ts'
import type { Cluster } from '../cluster.ts'
import type { ClusterSource } from '../source.ts'
import { FileError, notAFile, readManifestFile } from './file.ts'
import { type FileReading, interpret, interpretFile } from './interpret.ts'

export interface ManifestSourceOptions {
  readonly dir: string
  readonly cluster: Cluster
  readonly log: Log
  readonly clock: Clock
  /** A change is read once nothing more has happened for this long: writers write in pieces. */
  readonly quietMs?: number
  /** For file systems that do not tell of changes. */
  readonly relistMs?: number
}

interface CachedFile {
  readonly stamp: string
  readonly reading: FileReading
}

const DEFAULT_QUIET_MS = 20
const LONGEST_QUIET_MS = 500
const DEFAULT_RELIST_MS = 30_000

export class ManifestSourceError extends Error {
  override readonly name = 'ManifestSourceError'
  readonly code = 'source-unreadable'
}

export class ManifestSource implements ClusterSource {
  /** Files do not listen. */
  readonly sinks = []
  readonly #options: ManifestSourceOptions
  #files = new Map<string, CachedFile>()

  constructor(options: ManifestSourceOptions) {
    this.#options = options
  }

  /** A directory that is not there ends the start with what to do, before anything is made. @throws ManifestSourceError */
  prepare(): Promise<void> {
    return this.read()
  }

  start(jobs: Jobs): void {
    jobs.start('manifests', (signal, alive) => this.run(signal, alive))
  }

  /** Works until the signal is aborted: hand it to a job. @throws ManifestSourceError */
  async run(signal: AbortSignal, alive: () => void = () => undefined): Promise<void> {
    const { dir, relistMs = DEFAULT_RELIST_MS } = this.#options
    let events = new Events(dir)
    try {
      while (!signal.aborted) {
        if (events.isElsewhere()) {
          events.close()
          events = new Events(dir)
        }
        await this.read()
        alive()
        await events.next(relistMs, signal, this.#options)
      }
    } finally {
      events.close()
    }
  }

  /** Reads what changed since the last time and brings the tables up to it. @throws ManifestSourceError */
  async read(): Promise<void> {
    const { dir, cluster, log } = this.#options
    const files = new Map<string, CachedFile>()
    for (const name of await listFiles(dir)) {
      const cached = await this.#readFile(join(dir, name), this.#files.get(name))
      if (cached !== undefined) files.set(name, cached)
    }
    const isFirst = !cluster.nodes.isReady
    const isSame =
      files.size === this.#files.size &&
      [...files].every(([name, file]) => this.#files.get(name) === file)
    this.#files = files
    if (isSame && !isFirst) return
    const intent = interpret([...files.values()].map(({ reading }) => reading))
    const known = new Set(cluster.problems.values().map(({ key, message }) => `${key} ${message}`))
    for (const { key, message, where, object } of intent.problems) {
      if (!known.has(`${key} ${message}`)) log.warn({ where, object }, message)
    }
    cluster.problems.replaceAll(intent.problems)
    cluster.nodes.replaceAll(intent.nodes)
    cluster.namespaces.replaceAll(intent.namespaces)
    cluster.pods.replaceAll(intent.pods)
    cluster.services.replaceAll(intent.services)
    cluster.endpointSlices.replaceAll(intent.endpointSlices)
    cluster.serviceCIDRs.replaceAll(intent.serviceCIDRs)
    for (const table of Object.values(cluster)) table.markReady()
  }

  async #readFile(path: string, before: CachedFile | undefined): Promise<CachedFile | undefined> {
    let stamp = 'unknown'
    try {
      const stats = await stat(path, { bigint: true })
      stamp = stampOf(stats)
      if (before?.stamp === stamp) return before
      if (!stats.isFile()) throw notAFile()
      const reading = interpretFile(path, await readManifestFile(path))
      return { stamp, reading: reading.isBroken ? keepEarlier(reading, before) : reading }
    } catch (error) {
      const code = codeOf(error)
      if (code === undefined) throw error
      if (code === 'ENOENT' && !(await isLink(path))) return undefined
      const reading = {
        found: [],
        problems: [problem('unreadable', path, whyUnreadable(error, code))],
        isBroken: true,
      }
      return { stamp: `${code} ${stamp}`, reading: keepEarlier(reading, before) }
    }
  }
}

function whyUnreadable(error: unknown, code: string): string {
  if (error instanceof FileError) return error.message
  return code === 'ENOENT' ? 'a link that leads to nothing' : `cannot be read: ${code}`
}

async function isLink(path: string): Promise<boolean> {
  const stats = await lstat(path).catch(() => undefined)
  return stats?.isSymbolicLink() === true
}

/** A slip of the pen takes nothing away: objects of a file that cannot be read in full stay as they were last read. ADR 0034. */
function keepEarlier(reading: FileReading, before: CachedFile | undefined): FileReading {
  const isThere = new Set(reading.found.map(({ kind, key }) => `${kind}/${key}`))
  const earlier = before?.reading.found.filter(({ kind, key }) => !isThere.has(`${kind}/${key}`))
  return { ...reading, found: [...reading.found, ...(earlier ?? [])] }
}

/** In the order of their names, which decides between duplicates. Dot files are editors' and mounted ConfigMaps' own. */
async function listFiles(dir: string): Promise<string[]> {
  try {
    const names = await readdir(dir)
    return names.filter((name) => /^[^.].*\.(ya?ml|json)$/.test(name)).sort()
  } catch (error) {
    throw asSourceError(dir, error)
  }
}

function asSourceError(dir: string, error: unknown): unknown {
  switch (codeOf(error)) {
    case 'ENOENT':
      return new ManifestSourceError(
        `${dir}: no such directory. Make it and put the Node objects of the cluster into it as YAML files, or name another with --source manifests:DIR`,
        { cause: error },
      )
    case 'ENOTDIR':
      return new ManifestSourceError(`${dir}: not a directory; --source takes the directory`, {
        cause: error,
      })
    case 'EACCES':
      return new ManifestSourceError(`${dir}: may not be read by this user`, { cause: error })
    default:
      return error
  }
}

function stampOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`
}

/** Changes below a directory, bursts of them taken as one. */
class Events {
  readonly #dir: string
  readonly #inode: bigint
  readonly #watcher: FSWatcher
  #count = 0
  #error: unknown
  #wake: () => void = () => undefined

  constructor(dir: string) {
    this.#dir = dir
    try {
      this.#inode = statSync(dir, { bigint: true }).ino
      this.#watcher = watch(dir, () => this.#happened())
    } catch (error) {
      throw asSourceError(dir, error)
    }
    this.#watcher.on('error', (error) => {
      this.#error = error
      this.#happened()
    })
  }

  /** Another directory stands there now: some swap a whole directory by renaming. */
  isElsewhere(): boolean {
    return statSync(this.#dir, { bigint: true, throwIfNoEntry: false })?.ino !== this.#inode
  }

  close(): void {
    this.#watcher.close()
  }

  /** Returns after a change has settled down, or after `relistMs`. */
  async next(relistMs: number, signal: AbortSignal, options: ManifestSourceOptions): Promise<void> {
    const { clock, quietMs = DEFAULT_QUIET_MS } = options
    const woken = new AbortController()
    this.#wake = () => woken.abort()
    signal.addEventListener('abort', this.#wake, { once: true })
    try {
      if (this.#count === 0 && !signal.aborted) {
        await clock.sleep(relistMs, woken.signal).catch(() => undefined)
      }
      const giveUpAt = clock.monotonicMs() + LONGEST_QUIET_MS
      while (this.#count > 0 && !signal.aborted && clock.monotonicMs() < giveUpAt) {
        this.#count = 0
        await clock.sleep(quietMs, signal).catch(() => undefined)
      }
    } finally {
      signal.removeEventListener('abort', this.#wake)
    }
    this.#count = 0
    if (this.#error !== undefined) throw this.#error
  }

  #happened(): void {
    this.#count++
    this.#wake()
  }
}
