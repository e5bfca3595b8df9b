// What sb_backends has, as the agent knows it: bytes of each row, who has which id, and how many slots name it. Reads and writes no map.
import {
  BACKEND_TERMINATING,
  type Backend as BackendRow,
  backend,
} from '@sinabro/libbpf-ts/layouts'
import { PlaceIndex } from './place-index.ts'
import type { Backend } from './rows.ts'

const ROW = backend.size
/** All but the flags, which change while the backend stays the same one. */
const IDENTITY = ROW - 1

export function backendRow(one: Backend, proto: number): BackendRow {
  const flags = one.isTerminating ? BACKEND_TERMINATING : 0
  return { addr: one.address, port: one.port, proto, flags }
}

export class Backends {
  #bytes = new Uint8Array(ROW * 64)
  /** 0: a free place. */
  #ids = new Uint32Array(64)
  #slots = new Uint32Array(64)
  readonly #free: number[] = []
  #places = 0
  readonly #byId = new PlaceIndex((place) => this.#ids[place] ?? 0)
  readonly #byIdentity = new PlaceIndex((place) => hashAt(this.#bytes, place * ROW))
  /** No slot names them. */
  readonly idle = new Set<number>()

  get size(): number {
    return this.#places - this.#free.length
  }

  has(id: number): boolean {
    return this.#placeOf(id) >= 0
  }

  /** Those that are there when their turn comes. */
  *ids(): Generator<number, void, undefined> {
    for (let place = 0; place < this.#places; place++) {
      const id = this.#ids[place] ?? 0
      if (id !== 0) yield id
    }
  }

  /** 0: there is none with this address, port and protocol. */
  find(bytes: Uint8Array): number {
    const place = this.#byIdentity.find(hashAt(bytes, 0), (one) => {
      const at = one * ROW
      for (let i = 0; i < IDENTITY; i++) if (this.#bytes[at + i] !== bytes[i]) return false
      return true
    })
    return place < 0 ? 0 : (this.#ids[place] ?? 0)
  }

  /** As the map has it; undefined: there is none of this id. */
  bytesOf(id: number): Uint8Array | undefined {
    const place = this.#placeOf(id)
    return place < 0 ? undefined : this.#bytes.subarray(place * ROW, (place + 1) * ROW)
  }

  /** One that is not known, or other flags for one that is. */
  put(id: number, bytes: Uint8Array): void {
    const known = this.#placeOf(id)
    if (known >= 0) {
      this.#bytes.set(bytes, known * ROW)
      return
    }
    const place = this.#free.pop() ?? this.#places++
    if (place >= this.#ids.length) this.#grow()
    this.#bytes.set(bytes, place * ROW)
    this.#ids[place] = id
    this.#slots[place] = 0
    this.#byId.add(place)
    this.#byIdentity.add(place)
    this.idle.add(id)
  }

  drop(id: number): void {
    const place = this.#placeOf(id)
    if (place < 0) return
    this.#byId.remove(place)
    this.#byIdentity.remove(place)
    this.#ids[place] = 0
    this.#free.push(place)
    this.idle.delete(id)
  }

  /** A slot names it. */
  hold(id: number): void {
    const place = this.#placeOf(id)
    if (place < 0) return
    this.#slots[place] = (this.#slots[place] ?? 0) + 1
    this.idle.delete(id)
  }

  release(id: number): void {
    const place = this.#placeOf(id)
    if (place < 0) return
    const left = (this.#slots[place] ?? 0) - 1
    this.#slots[place] = left
    if (left === 0) this.idle.add(id)
  }

  #placeOf(id: number): number {
    return this.#byId.find(id, (place) => this.#ids[place] === id)
  }

  #grow(): void {
    const rows = this.#ids.length * 2
    const [bytes, ids, slots] = [this.#bytes, this.#ids, this.#slots]
    this.#bytes = new Uint8Array(ROW * rows)
    this.#ids = new Uint32Array(rows)
    this.#slots = new Uint32Array(rows)
    this.#bytes.set(bytes)
    this.#ids.set(ids)
    this.#slots.set(slots)
  }
}

/** FNV-1a over address, port and protocol. */
function hashAt(bytes: Uint8Array, at: number): number {
  let hash = 0x811c9dc5
  for (let i = at; i < at + IDENTITY; i++) hash = Math.imul(hash ^ (bytes[i] ?? 0), 0x01000193)
  return hash >>> 0
}
