// The thread's owner: started with the first order, ended when nobody needs a table any more; what it cannot do is an error of that order.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { libDir } from '../../runtime/lib-dir.ts'

export interface NumberedBackend {
  /** Of sb_backends. */
  readonly id: number
  /** What all nodes know it by. */
  readonly name: string
  readonly weight?: number
}

/** Without backends: the table goes. */
export interface Order {
  readonly number: number
  /** Of sb_maglev, which stays open as long as the thread runs. */
  readonly mapFd: number
  readonly service: number
  readonly backends?: readonly NumberedBackend[]
}

export interface Built {
  readonly mapId: number
  readonly entries: number
  readonly buildMs: number
  readonly threadId: number
}

export interface Done {
  readonly number: number
  readonly result?: Built
  readonly error?: { readonly code: string; readonly message: string }
}

/** Its heap: the largest table and what makes it need a fraction of this. */
const MOST_MIB = 64

interface Waiting {
  resolve(built: Built): void
  reject(error: Error): void
}

export class TableThread {
  readonly #waiting = new Map<number, Waiting>()
  #worker: Worker | undefined
  #last = 0

  get isRunning(): boolean {
    return this.#worker !== undefined
  }

  /** @throws Error with the code of what the kernel refused, or if the thread ended */
  carryOut(order: Omit<Order, 'number'>): Promise<Built> {
    const worker = this.#start()
    const number = ++this.#last
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject })
      worker.postMessage({ number, ...order })
    })
  }

  /** After what it is at; the next order starts another. */
  async end(): Promise<void> {
    const worker = this.#worker
    this.#worker = undefined
    await worker?.terminate()
  }

  #start(): Worker {
    if (this.#worker !== undefined) return this.#worker
    const worker = new Worker(workerModule(), {
      name: 'service tables',
      resourceLimits: { maxOldGenerationSizeMb: MOST_MIB },
    })
    worker.unref()
    worker.on('message', ({ number, result, error }: Done) => {
      const waiting = this.#waiting.get(number)
      this.#waiting.delete(number)
      if (result !== undefined) waiting?.resolve(result)
      else waiting?.reject(Object.assign(new Error(error?.message), { code: error?.code }))
    })
    let failure = new Error('the thread that makes tables has ended')
    worker.on('error', (error: Error) => {
      failure = error
    })
    worker.on('exit', () => {
      if (this.#worker === worker) this.#worker = undefined
      for (const { reject } of this.#waiting.values()) reject(failure)
      this.#waiting.clear()
    })
    this.#worker = worker
    return worker
  }
}

export function workerModule(): URL | string {
  const shipped = join(libDir() ?? '', 'maglev-worker.mjs')
  if (libDir() !== undefined && existsSync(shipped)) return shipped
  return new URL('./worker.ts', import.meta.url)
}
