// Ends connected UDP sockets whose backend is none any more: a resolver that is connected to a dead one gets an error and connects anew.
import type { StaleSocket } from '@sinabro/libbpf-ts/layouts'
import { isCode, NetworkNamespace, SocketDiag } from '@sinabro/node-netlink'
import type { Clock } from '../runtime/clock.ts'
import type { Jobs } from '../runtime/jobs.ts'
import type { Log } from '../runtime/log.ts'

export interface StaleSocketsDeps {
  /** Those of the whole node, as the maps are now. */
  readonly find: () => Promise<readonly StaleSocket[]>
  readonly hostNamespace: NetworkNamespace
  readonly pods: () => Iterable<PodNamespace>
  readonly clock: Pick<Clock, 'sleep'>
  readonly log: Log
}

export interface PodNamespace {
  readonly netns: string
  /** As decimal digits; absent: not known. */
  readonly netnsCookie?: string
}

/** Many changes at once are one pass. */
const PAUSE_MS = 1000
/** What went while nobody looked: a pass costs a microsecond for each socket that asked a service. */
const REFRESH_MS = 60_000
const AF_INET = 2

export class StaleSockets {
  readonly #deps: StaleSocketsDeps
  #wake = new AbortController()
  #ended = 0

  constructor(deps: StaleSocketsDeps) {
    this.#deps = deps
  }

  /** Sockets that were ended, since the start. */
  get ended(): number {
    return this.#ended
  }

  start(jobs: Jobs): void {
    jobs.start('stale sockets', (signal, alive) => this.#run(signal, alive))
  }

  /** Backends are gone from the maps. */
  lookSoon(): void {
    this.#wake.abort()
  }

  async #run(signal: AbortSignal, alive: () => void): Promise<void> {
    const { clock } = this.#deps
    while (!signal.aborted) {
      this.#wake = new AbortController()
      await this.look()
      alive()
      await clock.sleep(PAUSE_MS, signal)
      const until = AbortSignal.any([signal, this.#wake.signal])
      await clock.sleep(REFRESH_MS - PAUSE_MS, until).catch(() => undefined)
    }
  }

  /** One pass over the sockets of the node. How many were ended. */
  async look(): Promise<number> {
    const { find, log } = this.#deps
    let ended = 0
    for (const [cookie, sockets] of Map.groupBy(await find(), ({ netns }) => netns)) {
      using diag = this.#open(cookie)
      if (diag === undefined) continue
      for (const socket of sockets) if (await diag.destroy(asked(socket))) ended++
    }
    if (ended > 0) log.info({ sockets: ended }, 'ended UDP sockets whose backend is gone')
    this.#ended += ended
    return ended
  }

  /** Of the namespace with this cookie; undefined: it is no pod's, or gone. */
  #open(cookie: bigint): SocketDiag | undefined {
    const { hostNamespace, pods } = this.#deps
    if (hostNamespace.cookie() === cookie) return SocketDiag.open({ netns: hostNamespace })
    for (const { netns: path, netnsCookie } of pods()) {
      if (netnsCookie !== `${cookie}`) continue
      using netns = openIfThere(path)
      // A path may be another's by now.
      if (netns?.cookie() === cookie) return SocketDiag.open({ netns })
    }
    return undefined
  }
}

function openIfThere(path: string): NetworkNamespace | undefined {
  try {
    return NetworkNamespace.open(path)
  } catch (error) {
    if (isCode(error, 'ENOENT', 'ENOTTY', 'EINVAL')) return undefined
    throw error
  }
}

function asked({ family, local, localPort, remote, remotePort, ifindex, cookie }: StaleSocket) {
  return {
    family: family === AF_INET ? (4 as const) : (6 as const),
    protocol: 'udp' as const,
    local: { address: local, port: localPort },
    remote: { address: remote, port: remotePort },
    ifindex,
    cookie,
  }
}
