// Files that are there whole or not at all, and still there after a power cut.
import { checked, isSystemError, type NativeHost } from './host.ts'

/** Written under a name that begins with a dot, fsynced, renamed, the folder fsynced. @throws SystemError */
export function replaceFile(host: NativeHost, folder: string, name: string, text: string): void {
  const [unfinished, finished] = [`${folder}/.${name}.${host.pid()}`, `${folder}/${name}`]
  checked(host.createFile(unfinished, text), 'write', unfinished)
  try {
    checked(host.rename(unfinished, finished), 'rename', unfinished)
  } catch (error) {
    host.unlink(unfinished)
    throw error
  }
  checked(host.syncDirectory(folder), 'fsync', folder)
}

/** Parents too, each one's name on disk before the next. */
export function ensureDirectory(host: NativeHost, path: string): void {
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

export function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/'
}
