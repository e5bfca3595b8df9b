// The durable queue: a removal that finds no agent becomes a file that the agent takes up later (format and rules in wire.ts, ADR 0021).
import { checked, isSystemError, type NativeHost } from './host.ts'
import { type QueueEntry, queueDirName, queueFileName } from './wire.ts'

/** Returns once the entry survives a power cut. @throws SystemError; then the entry is not to be relied on. */
export function enqueue(host: NativeHost, stateDir: string, entry: QueueEntry): void {
  const folder = `${stateDir}/${queueDirName}`
  ensureDirectory(host, folder)
  const name = queueFileName(entry.request.sequence, host.pid())
  const [unfinished, finished] = [`${folder}/.${name}`, `${folder}/${name}`]
  checked(host.createFile(unfinished, `${JSON.stringify(entry)}\n`), 'write', unfinished)
  try {
    checked(host.rename(unfinished, finished), 'rename', unfinished)
  } catch (error) {
    host.unlink(unfinished)
    throw error
  }
  checked(host.syncDirectory(folder), 'fsync', folder)
}

/** Parents too, each one's name on disk before the next. */
function ensureDirectory(host: NativeHost, path: string): void {
  try {
    checked(host.makeDirectory(path), 'mkdir', path)
  } catch (error) {
    if (isSystemError(error, 'EEXIST')) return
    if (!isSystemError(error, 'ENOENT') || parentOf(path) === '/') throw error
    ensureDirectory(host, parentOf(path))
    checked(host.makeDirectory(path), 'mkdir', path)
  }
  checked(host.syncDirectory(parentOf(path)), 'fsync', parentOf(path))
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/'
}
