// A network namespace held open: sockets are opened in it, its sysctls read and written, and no JavaScript runs in it.
import { constants, fstatSync, readFileSync, writeSync } from 'node:fs'
import { EINVAL, NetlinkError } from './error.ts'
import { native } from './native.ts'
import { OwnedFd } from './owned-fd.ts'
import { NETLINK_ROUTE, SO_NETNS_COOKIE, SOL_SOCKET } from './socket-constants.ts'

const CLONE_NEWNET = 0x4000_0000

/** Whoever opens it closes it. */
export class NetworkNamespace {
  readonly #owned: OwnedFd
  /** With `device`, what tells two namespaces apart while both exist. */
  readonly inode: bigint
  readonly device: bigint

  private constructor(fd: number, what: string) {
    this.#owned = new OwnedFd(fd, what)
    const type = native().namespaceType(fd)
    if (type !== CLONE_NEWNET) {
      this.#owned.close()
      throw new NetlinkError({
        op: 'NS_GET_NSTYPE',
        subject: what,
        errno: type < 0 ? -type : EINVAL,
      })
    }
    const { ino, dev } = fstatSync(fd, { bigint: true })
    this.inode = ino
    this.device = dev
  }

  /**
   * Opens `/run/netns/NAME`, `/proc/PID/ns/net`, ….
   * @throws NetlinkError ENOENT, EACCES, …; ENOTTY or EINVAL when the file is no network namespace
   */
  static open(path: string): NetworkNamespace {
    // O_NONBLOCK: a path from outside may name a FIFO, and waiting for its writer would stop everything.
    const fd = openFile(-1, path, constants.O_RDONLY | constants.O_NONBLOCK)
    return new NetworkNamespace(fd, `namespace ${path}`)
  }

  /** The namespace of this process. */
  static current(): NetworkNamespace {
    return NetworkNamespace.open('/proc/self/ns/net')
  }

  /** A new one with only a loopback device, which ends with the last fd, device or process that refers to it. @throws NetlinkError EPERM where the caller could not return */
  static create(): NetworkNamespace {
    return new NetworkNamespace(checked('unshare', native().createNamespace()), 'new namespace')
  }

  get fd(): number {
    return this.#owned.fd
  }

  /** SO_NETNS_COOKIE: a number no other namespace of this kernel ever has. Linux 5.14 and newer. */
  cookie(): bigint {
    const socket = checked('socket', native().open(NETLINK_ROUTE, this.fd))
    try {
      const bytes = new BigUint64Array(1)
      const into = new Uint8Array(bytes.buffer)
      checked('SO_NETNS_COOKIE', native().getOption(socket, SOL_SOCKET, SO_NETNS_COOKIE, into))
      return bytes[0] ?? 0n
    } finally {
      native().close(socket)
    }
  }

  isSame(other: NetworkNamespace): boolean {
    return this.inode === other.inode && this.device === other.device
  }

  /**
   * Reads a file of `/proc/sys/net`, which shows each namespace its own. Use `/proc/thread-self/net` for `/proc/net`; `/sys` shows
   * the namespace it was mounted in and not this one.
   */
  readFile(path: string): string {
    const fd = openFile(this.fd, path, constants.O_RDONLY)
    try {
      return readFileSync(fd, 'utf8')
    } catch (error) {
      throw fileError(`read ${path}`, error)
    } finally {
      native().close(fd)
    }
  }

  /** Writes `text` at once: a sysctl takes its value in one write. */
  writeFile(path: string, text: string): void {
    const fd = openFile(this.fd, path, constants.O_WRONLY)
    try {
      writeSync(fd, text)
    } catch (error) {
      throw fileError(`write ${path}`, error)
    } finally {
      native().close(fd)
    }
  }

  close(): void {
    this.#owned.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

function openFile(netnsFd: number, path: string, flags: number): number {
  const bytes = new TextEncoder().encode(`${path}\0`)
  return checked(`open ${path}`, native().openFile(netnsFd, bytes, flags))
}

function fileError(op: string, error: unknown): unknown {
  const errno = (error as { readonly errno?: unknown }).errno
  return typeof errno === 'number' ? new NetlinkError({ op, errno: -errno, cause: error }) : error
}

function checked(op: string, result: number): number {
  if (result < 0) throw new NetlinkError({ op, errno: -result })
  return result
}
