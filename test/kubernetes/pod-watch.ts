// When pods got where: the moments at which a watch of the API server says that they are scheduled and Ready, by this machine's clock.
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Cluster } from './cluster.ts'

interface PodEvent {
  readonly type: string
  readonly object: {
    readonly metadata: { readonly name: string }
    readonly status: { readonly conditions?: readonly { type: string; status: string }[] }
  }
}

interface Times {
  scheduledMs?: number
  readyMs?: number
}

/** The API keeps whole seconds, so moments are those at which its events arrive; both ends of a start come the same way. */
export class PodWatch implements Disposable {
  readonly #child: ChildProcess
  readonly #pods = new Map<string, Times>()
  #onEvent: () => void = () => undefined
  #isEnded = false

  constructor(cluster: Cluster, namespace: string) {
    const path = `/api/v1/namespaces/${namespace}/pods?watch=true`
    const [program = '', ...args] = cluster.control.kubectlCommand(['get', '--raw', path])
    this.#child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    if (this.#child.stdout === null) throw new Error('no pipe to the watch')
    createInterface({ input: this.#child.stdout }).on('line', (line) =>
      this.#take(JSON.parse(line) as PodEvent),
    )
    this.#child.once('close', () => {
      this.#isEnded = true
      this.#onEvent()
    })
  }

  #take({ type, object: { metadata, status } }: PodEvent): void {
    const nowMs = performance.now()
    if (type === 'DELETED') this.#pods.delete(metadata.name)
    else {
      const times = this.#pods.get(metadata.name) ?? {}
      const is = (condition: string): boolean =>
        status.conditions?.some((one) => one.type === condition && one.status === 'True') ?? false
      if (is('PodScheduled')) times.scheduledMs ??= nowMs
      if (is('Ready')) times.readyMs ??= nowMs
      this.#pods.set(metadata.name, times)
    }
    this.#onEvent()
  }

  /** Milliseconds from scheduled to Ready of each pod, once `count` of them are. */
  async starts(count: number, timeoutMs: number): Promise<number[]> {
    await this.#until(() => this.#started().length >= count, `${count} pods to be Ready`, timeoutMs)
    return this.#started()
  }

  async empty(timeoutMs: number): Promise<void> {
    await this.#until(() => this.#pods.size === 0, 'the pods to go', timeoutMs)
  }

  #started(): number[] {
    return [...this.#pods.values()].flatMap(({ scheduledMs, readyMs }) =>
      scheduledMs === undefined || readyMs === undefined ? [] : [readyMs - scheduledMs],
    )
  }

  async #until(isDone: () => boolean, what: string, timeoutMs: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const timer = setTimeout(() => reject(new Error(`waited for ${what} for too long`)), timeoutMs)
    this.#onEvent = () => {
      if (isDone()) resolve()
      else if (this.#isEnded) reject(new Error(`the watch ended while it waited for ${what}`))
    }
    this.#onEvent()
    try {
      await promise
    } finally {
      clearTimeout(timer)
      this.#onEvent = () => undefined
    }
  }

  [Symbol.dispose](): void {
    this.#child.kill()
  }
}
