// One process per directory: a lock that the kernel takes back by itself when its holder dies.
import { stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { codeOf } from './log.ts'

export class LockError extends Error {
  override readonly name = 'LockError'
  readonly code = 'already-running'
}

export interface Lock {
  release(): Promise<void>
}

/**
 * An abstract Unix socket (unix(7)) named after the directory's device and inode: two paths to one directory are one lock, nothing
 * is left on disk, and it is free the moment the holder is gone, however it went. Whoever connects is hung up on. ADR 0031.
 * @throws LockError
 */
export async function lockDirectory(dir: string): Promise<Lock> {
  const { dev, ino } = await stat(dir, { bigint: true })
  const name = `sinabro/${dev}/${ino}`
  const server = createServer((socket) => socket.destroy())
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(`\0${name}`, resolve)
    })
  } catch (error) {
    if (codeOf(error) !== 'EADDRINUSE') throw error
    throw new LockError(
      `${dir}: an agent works with this directory: stop it first (a second agent needs a --state-dir of its own). Who it is: ss -xlp src '@${name}'`,
      { cause: error },
    )
  }
  server.unref()
  return { release: () => new Promise((resolve) => server.close(() => resolve())) }
}
