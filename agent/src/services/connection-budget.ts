// How many connections callers hold that nobody vouches for: of one address, on one port and in all. Who has held one longest makes room,
// so that those who hold theirs open keep nobody out: a probe is answered within milliseconds.
import type { Socket } from 'node:net'

export interface ConnectionLimits {
  readonly ofAll: number
  readonly ofPort: number
  /** On one port. */
  readonly ofCaller: number
}

/** File descriptors are few, and of the whole agent. */
const LIMITS: ConnectionLimits = { ofAll: 512, ofPort: 128, ofCaller: 32 }

/** In the order in which they came. */
type Held = Map<Socket, string>

export class ConnectionBudget {
  readonly #limits: ConnectionLimits
  readonly #ports = new Map<object, Held>()
  #size = 0

  constructor(limits: ConnectionLimits = LIMITS) {
    this.#limits = limits
  }

  /** Those that are open. */
  get size(): number {
    return this.#size
  }

  /** It is open until it closes, or is closed to make room. */
  add(port: object, socket: Socket): void {
    const held: Held = this.#ports.get(port) ?? new Map()
    this.#ports.set(port, held)
    const caller = socket.remoteAddress ?? ''
    held.set(socket, caller)
    this.#size++
    socket.once('close', () => this.#drop(port, held, socket))
    const { ofAll, ofPort, ofCaller } = this.#limits
    const ofThis = [...held].filter(([, other]) => other === caller).map(([one]) => one)
    if (ofThis.length > ofCaller) this.#end(port, held, ofThis[0])
    if (held.size > ofPort) this.#end(port, held, first(held))
    if (this.#size > ofAll) this.#endOfFullest()
  }

  /** A port that few use loses none to one that is flooded. */
  #endOfFullest(): void {
    const [fullest] = [...this.#ports].sort(([, a], [, b]) => b.size - a.size)
    if (fullest === undefined) return
    const [port, held] = fullest
    this.#end(port, held, first(held))
  }

  #end(port: object, held: Held, socket: Socket | undefined): void {
    if (socket === undefined) return
    this.#drop(port, held, socket)
    socket.destroy()
  }

  #drop(port: object, held: Held, socket: Socket): void {
    if (!held.delete(socket)) return
    this.#size--
    if (held.size === 0) this.#ports.delete(port)
  }
}

function first(held: Held): Socket | undefined {
  const [socket] = held.keys()
  return socket
}
