// Puts a server's Unix socket in its place: private from its first moment, replacing only a socket that nobody serves (ADR 0036).
import { chmod, lstat, mkdir, mkdtemp, rename, rm, rmdir, stat, unlink } from 'node:fs/promises'
import { connect, type Server } from 'node:net'
import { dirname, join } from 'node:path'
import { codeOf } from '../runtime/log.ts'

/** sun_path, linux/un.h, less the NUL. */
const MAX_PATH_BYTES = 107

export class SocketError extends Error {
  override readonly name = 'SocketError'
  readonly code: 'socket-in-use' | 'not-a-socket' | 'path-too-long'

  constructor(code: SocketError['code'], message: string) {
    super(message)
    this.code = code
  }
}

export interface BoundSocket {
  readonly path: string
  /** Takes the socket away, unless someone else's stands there by now. */
  remove(): Promise<void>
}

/**
 * Binds in a fresh directory of mode 0700, sets the mode, then renames: at no moment can another user connect, and callers find
 * either the old socket or the new one. @throws SocketError
 */
export async function bindSocket(server: Server, path: string): Promise<BoundSocket> {
  const folder = dirname(path)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await refuseIfServed(path)
  const nursery = await mkdtemp(join(folder, '.new-'))
  const temporary = join(nursery, 's')
  try {
    if (Buffer.byteLength(temporary) > MAX_PATH_BYTES) {
      throw new SocketError(
        'path-too-long',
        `${path}: too long for a socket; choose a shorter run directory`,
      )
    }
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(temporary, () => {
        server.off('error', reject)
        resolve()
      })
    })
    await chmod(temporary, 0o600)
    await rename(temporary, path)
  } finally {
    await rm(temporary, { force: true })
    await rmdir(nursery)
  }
  const { ino, dev } = await stat(path)
  return {
    path,
    async remove() {
      const there = await stat(path).catch(() => undefined)
      if (there?.ino === ino && there.dev === dev) await unlink(path)
    },
  }
}

async function refuseIfServed(path: string): Promise<void> {
  let there: Awaited<ReturnType<typeof lstat>>
  try {
    there = await lstat(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    throw error
  }
  if (!there.isSocket()) {
    throw new SocketError('not-a-socket', `${path}: is there and is no socket; it is left alone`)
  }
  if (await isServed(path)) {
    throw new SocketError(
      'socket-in-use',
      `${path}: another process answers there; stop it, or give this one another --run-dir`,
    )
  }
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
