// Settings of the kernel's network below /proc/sys/net, in a given namespace: read, and written only when they differ.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { isCode, NetworkNamespace } from '@sinabro/node-netlink'

const PROC = '/proc/sys/net'
/** Where the DaemonSet mounts the node's, because /proc/sys of a container without privilege is read-only. */
const OF_NODE = '/host/proc/sys/net'

export class KernelSettings {
  readonly #namespace: NetworkNamespace
  /** A foreign namespace is entered for each file; our own is not. */
  readonly #isOwn: boolean

  constructor(namespace: NetworkNamespace) {
    this.#namespace = namespace
    using own = NetworkNamespace.current()
    this.#isOwn = namespace.isSame(own)
  }

  /** 'ipv4/conf/all/forwarding'; undefined where this kernel has no such setting (a family that is not built in). */
  read(name: string): string | undefined {
    const path = `${PROC}/${name}`
    try {
      return (this.#isOwn ? readFileSync(path, 'utf8') : this.#namespace.readFile(path)).trim()
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  /** A setting that already has the value is not written: /proc/sys may be read-only, and some writes have effects of their own. */
  set(name: string, value: string): void {
    if (this.read(name) === value) return
    try {
      this.#write(`${PROC}/${name}`, value)
    } catch (error) {
      if (!isReadOnly(error) || !existsSync(OF_NODE)) throw error
      this.#write(`${OF_NODE}/${name}`, value)
    }
  }

  /** Which namespace's settings a file of /proc/sys/net stands for is decided by who opens it, wherever it is mounted. */
  #write(path: string, value: string): void {
    if (this.#isOwn) writeFileSync(path, value)
    else this.#namespace.writeFile(path, value)
  }
}

function isMissing(error: unknown): boolean {
  return (
    isCode(error, 'ENOENT') ||
    (error instanceof Error && 'code' in error && error.code === 'ENOENT')
  )
}

function isReadOnly(error: unknown): boolean {
  return (
    isCode(error, 'EROFS') || (error instanceof Error && 'code' in error && error.code === 'EROFS')
  )
}
