// Settings of the kernel's network below /proc/sys/net, in a given namespace: read, and written only when they differ.
import { readFileSync, writeFileSync } from 'node:fs'
import { isCode, NetworkNamespace } from '@sinabro/node-netlink'

export class KernelSettings {
  readonly #namespace: NetworkNamespace
  /** A foreign namespace costs a thread for each file, which is dear on a busy machine; our own costs nothing. */
  readonly #isOwn: boolean

  constructor(namespace: NetworkNamespace) {
    this.#namespace = namespace
    using own = NetworkNamespace.current()
    this.#isOwn = namespace.isSame(own)
  }

  /** 'ipv4/conf/all/forwarding'; undefined where this kernel has no such setting (a family that is not built in). */
  read(name: string): string | undefined {
    const path = `/proc/sys/net/${name}`
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
    const path = `/proc/sys/net/${name}`
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
