// The server side of the CNI executable: routes of the verbs, replay of queued DELs, and the files that make the runtime call us.
//
// createCni(deps)        makes the room
//   .register(api)       the routes; verbs answer "try again later" until the agent is ready
//   .replay()            works off queued DELs; once before the socket is served
//   .start(jobs)         watches the queue; installs executable and conflist as soon as the agent is ready
import { dirname } from 'node:path'
import {
  type AgentVerb,
  agentPaths,
  type CniRequest,
  callTimeoutMs,
  codes,
  limits,
  type Sequence,
} from '@sinabro/cni/wire'
import type { Api, ApiError, ApiHandler, ApiReply } from '../api/routes.ts'
import type { ClusterSink } from '../cluster/sink.ts'
import type { AttachmentKey } from '../ipam/allocation.ts'
import type { RangeUsage } from '../ipam/ipam.ts'
import type { Health } from '../runtime/health.ts'
import type { Jobs } from '../runtime/jobs.ts'
import { CniError, errorBody, toCniError } from './error.ts'
import { type InstallOptions, installConflist, installExecutable } from './install.ts'
import { LEAVE_PATH, Leaving } from './leaving.ts'
import { installNeighbours, LOOPBACK, PORTMAP, portmapVersions } from './neighbours.ts'
import { DelQueue } from './queue.ts'
import { eventOfRefusal } from './refusal.ts'
import { decodeNetworkRequest, decodeRequest } from './request.ts'
import { judgeStatus, waitingFor } from './status.ts'
import { Verbs, type VerbsDeps } from './verbs.ts'

export interface CniDeps extends VerbsDeps {
  readonly ipam: VerbsDeps['ipam'] & { usage(): readonly RangeUsage[] }
  readonly health: Health
  readonly sink: Pick<ClusterSink, 'event'>
  readonly stateDir: string
  readonly install: InstallOptions
}

/** How long an ADD waits for an agent that is starting. */
const READY_WITHIN_MS = 10_000
/** Left to the executable to hear of our own time-out before its own. */
const MARGIN_MS = 500

export function createCni(deps: CniDeps): Cni {
  return new Cni(deps)
}

export class Cni {
  readonly #deps: CniDeps
  readonly #verbs: Verbs
  readonly #queue: DelQueue
  readonly #leaving: Leaving

  constructor(deps: CniDeps) {
    this.#deps = deps
    this.#leaving = new Leaving({ ...deps, attachments: () => deps.ipam.list().length })
    this.#verbs = new Verbs(deps)
    this.#queue = new DelQueue({
      stateDir: deps.stateDir,
      del: (request) => this.#verbs.answer('queued DEL', request, () => this.#verbs.del(request)),
      gc: (request) => this.#verbs.answer('queued GC', request, () => this.#verbs.gc(request)),
      log: deps.log,
    })
  }

  register(api: Api): void {
    const verbs = this.#verbs
    const route = (verb: AgentVerb, run: Run, decode = decodeRequest) => {
      api.route('POST', agentPaths[verb], this.#handler(verb, decode, run), {
        maxBodyBytes: limits.requestBytes,
        timeoutMs: callTimeoutMs[verb] - MARGIN_MS,
        errorBody: formatApiError,
      })
    }
    route('ADD', async (request, signal) => {
      this.#leaving.refuseAdd()
      await this.#whenReady(signal)
      return await verbs.add(request, signal).catch((error: unknown) => {
        const event = eventOfRefusal(request, toCniError(error))
        if (event !== undefined) this.#deps.sink.event(event)
        throw error
      })
    })
    route('DEL', async (request) => {
      await verbs.del(request)
      await this.#leaving.afterRemoval()
      return {}
    })
    route('CHECK', async (request, signal) => {
      await this.#whenReady(signal)
      await verbs.check(request, signal)
      return {}
    })
    const gc: Run = async (request) => {
      await verbs.gc(request)
      await this.#leaving.afterRemoval()
      return {}
    }
    route('GC', gc, decodeNetworkRequest)
    route('STATUS', async (request) => this.#status(request), decodeNetworkRequest)
    api.route('POST', LEAVE_PATH, async () => ({
      status: 200,
      body: { attachments: await this.#leaving.leave() },
    }))
  }

  /** Removes what is gone without a DEL, in turn with the verbs of its key; see ipam/reclaim.ts. */
  async reclaim(key: AttachmentKey, sequence: Sequence): Promise<boolean> {
    const isRemoved = await this.#verbs.reclaim(key, sequence)
    await this.#leaving.afterRemoval()
    return isRemoved
  }

  replay(): Promise<void> {
    return this.#queue.replay()
  }

  start(jobs: Jobs): void {
    jobs.start('cni queue', (signal, alive) => this.#queue.watch(signal, alive))
    jobs.start('cni install', async (signal) => {
      const { health, install, log, hasHostPorts } = this.#deps
      await health.whenReady(signal)
      if (this.#leaving.isLeaving) {
        log.warn('this node is being taken off: nothing is installed')
        await this.#leaving.afterRemoval()
        return
      }
      if (await installExecutable(install))
        log.info({ folder: install.binDir }, 'installed the executable')
      const { binDir } = install
      const neighbours = hasHostPorts ? [LOOPBACK] : [LOOPBACK, PORTMAP]
      const put = await installNeighbours(dirname(install.executable), binDir, neighbours)
      if (put.length > 0) log.info({ folder: binDir, put }, 'installed plug-ins that were missing')
      const versions = hasHostPorts ? undefined : await portmapVersions(binDir, log)
      if (await installConflist({ ...install, portmapVersions: versions }))
        log.info({ folder: install.confDir }, 'installed the conflist')
    })
  }

  #status({ config }: CniRequest): object {
    this.#leaving.refuseStatus()
    judgeStatus(this.#deps.health.snapshot(), this.#deps.ipam.usage(), config)
    return {}
  }

  #handler(verb: string, decode: typeof decodeRequest, run: Run): ApiHandler {
    return async ({ body, signal }): Promise<ApiReply> => {
      let version = ''
      try {
        const request = decode(body)
        version = request.cniVersion
        const result = await this.#verbs.answer(verb, request, () => run(request, signal))
        return { status: 200, body: result }
      } catch (error) {
        return { status: 500, body: errorBody(toCniError(error), version) }
      }
    }
  }

  /** @throws CniError 11 with what the agent is waiting for */
  async #whenReady(signal: AbortSignal): Promise<void> {
    const { health } = this.#deps
    if (health.snapshot().isReady) return
    const late = AbortSignal.any([signal, AbortSignal.timeout(READY_WITHIN_MS)])
    try {
      await health.whenReady(late)
    } catch (error) {
      signal.throwIfAborted()
      const message = `the agent is not ready: ${waitingFor(health.snapshot())}`
      throw new CniError(codes.tryAgainLater, message, { cause: error })
    }
  }
}

type Run = (request: CniRequest, signal: AbortSignal) => Promise<unknown>

/** What the server itself refuses, in the words of CNI. */
function formatApiError(error: ApiError): unknown {
  const byCode: Readonly<Record<string, number>> = {
    'bad-request': codes.decodingFailure,
    'body-too-large': codes.decodingFailure,
    timeout: codes.tryAgainLater,
    stopping: codes.tryAgainLater,
  }
  const cniCode = byCode[error.code] ?? codes.internal
  return errorBody(new CniError(cniCode, error.message), '')
}
