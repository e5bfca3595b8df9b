// The only file that loads the addon: file descriptors and bytes cross here, and nothing else.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Negative results are `-errno`. File descriptors are close-on-exec and the caller's to close. */
export interface NetlinkNative {
  /** A non-blocking netlink socket in the namespace of `netnsFd`; -1 is the caller's own. */
  open(protocol: number, netnsFd: number): number
  /** Binds to the multicast groups 1 to 32 of the mask; 0 only takes a port number. */
  bind(fd: number, groups: number): number
  send(fd: number, message: Uint8Array, length: number): number
  /** As `send()` but on a thread of its own, with a copy of the message; `onSent` gets the result on Node's loop. 0 when it is under way. */
  sendAside(
    fd: number,
    message: Uint8Array,
    length: number,
    onSent: (result: number) => void,
  ): number
  /** Length of the datagram even where it did not fit (MSG_TRUNC). Datagrams of other processes are dropped. */
  receive(fd: number, into: Uint8Array): number
  setOption(fd: number, level: number, option: number, value: number): number
  getOption(fd: number, level: number, option: number, into: Uint8Array): number
  /** Calls back on Node's loop while the fd has something to receive or an error to report. */
  pollStart(fd: number, onReadable: () => void): object
  /** Before the fd is closed. Safe to repeat. */
  pollStop(poller: object): void
  close(fd: number): number
  /** Opens a file, its path ended by NUL, as a thread of that namespace would; -1 is the caller's own. */
  openFile(netnsFd: number, path: Uint8Array, flags: number): number
  /** A namespace that lives as long as its fd or anything else that refers to it. */
  createNamespace(): number
  /** CLONE_NEW* of a namespace's fd (NS_GET_NSTYPE). */
  namespaceType(fd: number): number
  /** A new fd of the namespace that a socket belongs to. */
  namespaceOf(fd: number): number
}

let loaded: NetlinkNative | undefined

/** Loaded at first use, so that decoding and parsing work where the addon does not. */
export function native(): NetlinkNative {
  loaded ??= load()
  return loaded
}

function load(): NetlinkNative {
  const module: { exports: unknown } = { exports: {} }
  process.dlopen(module, addonPath())
  return module.exports as NetlinkNative
}

/** Where it is, built or shipped. */
export function addonPath(): string {
  const libDir = process.env.SINABRO_LIB_DIR
  const shipped = libDir === undefined ? undefined : join(libDir, 'netlink.node')
  if (shipped !== undefined && existsSync(shipped)) return shipped
  return fileURLToPath(new URL('../build/netlink.node', import.meta.url))
}
