// Counts what the agent asks of the API servers: requests by how they ended, and bytes that came.

export interface TrafficRow {
  readonly verb: string
  readonly resource: string
  /** HTTP status; 0 when no server answered. */
  readonly code: number
  readonly count: number
}

export interface BytesRow {
  readonly verb: string
  readonly resource: string
  readonly bytes: number
}

interface Asked {
  readonly verb: string
  readonly resource: string
}

export class Traffic {
  readonly #requests = new Map<string, TrafficRow>()
  readonly #bytes = new Map<string, BytesRow>()

  answered({ verb, resource }: Asked, code: number): void {
    const key = `${verb} ${resource} ${code}`
    const count = (this.#requests.get(key)?.count ?? 0) + 1
    this.#requests.set(key, { verb, resource, code, count })
  }

  /** As it came over the wire, before unpacking. */
  received({ verb, resource }: Asked, length: number): void {
    const key = `${verb} ${resource}`
    const bytes = (this.#bytes.get(key)?.bytes ?? 0) + length
    this.#bytes.set(key, { verb, resource, bytes })
  }

  requests(): TrafficRow[] {
    return [...this.#requests.values()]
  }

  bytes(): BytesRow[] {
    return [...this.#bytes.values()]
  }
}
