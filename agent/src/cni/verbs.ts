// ADD, DEL and CHECK: what each does with allocation and wiring, in which order, and what is taken back when it fails.
import { type CniRequest, type CniResult, codes, mayUndo, type Sequence } from '@sinabro/cni/wire'
import type { NetworkNamespace } from '@sinabro/node-netlink'
import { formatBandwidth, isSameBandwidth } from '../bandwidth/limits.ts'
import {
  type Allocation,
  type AllocationRequest,
  type AttachmentKey,
  hostDeviceOf,
  keyText,
} from '../ipam/allocation.ts'
import { parseAsked } from '../ipam/asked.ts'
import type { Begun } from '../ipam/ipam.ts'
import { pairMacs } from '../pods/compute.ts'
import { PodError } from '../pods/error.ts'
import { openPodNamespace } from '../pods/namespace.ts'
import type { PodRow } from '../pods/rows.ts'
import type { Log } from '../runtime/log.ts'
import { findClash, formatPortMapping, isSamePortMappings } from '../services/host-port-mappings.ts'
import { CniError, toCniError } from './error.ts'
import {
  decodeAsked,
  decodeBandwidth,
  decodeMac,
  decodeOwner,
  decodePortMappings,
  decodeValidAttachments,
} from './request.ts'
import { computeResult } from './result.ts'
import { Turns } from './turns.ts'

export interface VerbsDeps {
  readonly ipam: {
    begin(request: AllocationRequest): Promise<Begun>
    release(key: AttachmentKey): Promise<unknown>
    get(key: AttachmentKey): Allocation | undefined
    list(): readonly Allocation[]
  }
  readonly pods: {
    add(
      allocation: Allocation,
      netns: NetworkNamespace,
      signal: AbortSignal,
      stored: Promise<void>,
    ): Promise<PodRow>
    remove(allocation: Allocation): Promise<void>
    removeDevice(hostDevice: string): Promise<void>
    check(allocation: Allocation, netns: NetworkNamespace): Promise<void>
  }
  /** The node's own namespace: never a pod's. */
  readonly hostNamespace: NetworkNamespace
  /** Host ports are ours: those that a pod of this node has are given to no other. */
  readonly hasHostPorts: boolean
  /** What of an attachment's host ports is not served, in words. */
  readonly missingHostPorts?: (allocation: Allocation) => readonly string[]
  /** Until an attachment's host ports are served; those that somebody else has are not waited for. @throws the signal's reason */
  readonly hostPortsServed?: (allocation: Allocation, signal: AbortSignal) => Promise<void>
  /** Of this boot: /proc/sys/kernel/random/boot_id. */
  readonly bootId: string
  readonly log: Log
}

/** Of the time of an ADD, which is 30 s: a change is written in milliseconds, and the runtime tries again. */
const HOST_PORTS_WITHIN_MS = 5_000

export class Verbs {
  readonly #deps: VerbsDeps
  readonly #turns = new Turns()
  /** When the latest ADD of each attachment began, from the moment it came in; more than the record knows of a repeated one. */
  readonly #added = new Map<string, Sequence>()

  /** Host ports of ADDs that run. */
  readonly #claims = new Map<string, Claim>()

  constructor(deps: VerbsDeps) {
    this.#deps = deps
  }

  get running(): number {
    return this.#turns.size
  }

  /** @throws CniError */
  async add(request: CniRequest, signal: AbortSignal): Promise<CniResult> {
    const { key, text } = identify(request)
    if (request.netns === '') {
      throw new CniError(codes.invalidEnvironment, 'CNI_NETNS: ADD needs a network namespace')
    }
    const asked = parseAsked(decodeAsked(request))
    const mac = decodeMac(request)
    const bandwidth = decodeBandwidth(request)
    const portMappings = decodePortMappings(request)
    const owner = decodeOwner(request.args)
    this.#added.set(text, request.sequence)
    return await this.#turns.take(text, 'add', signal, async (running) => {
      const { ipam, pods, hostNamespace } = this.#deps
      using netns = openPodNamespace(request.netns, hostNamespace)
      const known = ipam.get(key)
      const wasThere = known !== undefined
      if (known !== undefined && mac !== undefined && mac !== podMacOf(known)) {
        const message = `${text} has the MAC ${podMacOf(known)} since an earlier ADD, and ${mac} is asked for`
        throw new CniError(codes.addressUnavailable, message)
      }
      if (known !== undefined && !isSameBandwidth(bandwidth, known.bandwidth)) {
        const message = `${text} has other limits since an earlier ADD (${formatBandwidth(known.bandwidth)}): DEL it first`
        throw new CniError(codes.invalidConfig, message)
      }
      if (known !== undefined && !isSamePortMappings(portMappings, known.portMappings ?? [])) {
        const message = `${text} has other host ports since an earlier ADD: DEL it first`
        throw new CniError(codes.invalidConfig, message)
      }
      using _claim = this.#claim(text, { ...owner, key, portMappings })
      const { allocation, stored } = await ipam.begin({
        key,
        netns: request.netns,
        netnsCookie: String(netns.cookie()),
        sequence: request.sequence,
        ...(asked.length === 0 ? {} : { addresses: asked }),
        ...(mac === undefined ? {} : { mac }),
        ...(bandwidth === undefined ? {} : { bandwidth }),
        ...(portMappings.length === 0 ? {} : { portMappings }),
        ...owner,
      })
      try {
        running.throwIfAborted()
        const pod = await pods.add(allocation, netns, running, stored)
        try {
          await this.#whenHostPortsServed(allocation, running)
        } catch (error) {
          if (!wasThere) await this.#undo(allocation)
          throw error
        }
        return computeResult(pod, request.netns)
      } catch (error) {
        // The pods room took its part back. An address whose wiring could not be undone stays with this key till its DEL.
        if (!wasThere && codeOf(error) !== 'undo-failed') await ipam.release(key)
        throw error
      }
    })
  }

  /** Goes on to its end even if the caller has gone away: half a removal helps nobody. @throws CniError */
  async del(request: CniRequest): Promise<void> {
    const { key, text } = identify(request)
    if (!(await this.#remove(key, request.sequence))) {
      this.#deps.log.info({ attachment: text }, 'DEL began before the ADD of the same attachment')
    }
  }

  /**
   * Removes every attachment of the network that is not listed, but for those whose ADD runs or began later. Goes on after errors.
   * @throws CniError that names all of them
   */
  async gc(request: CniRequest): Promise<void> {
    const { config, sequence } = request
    const valid = new Set(
      decodeValidAttachments(config).map(({ containerID, ifname }) => `${containerID}/${ifname}`),
    )
    const failures: string[] = []
    for (const { key } of this.#deps.ipam.list()) {
      const { network, containerId, ifname } = key
      if (network !== config.name || valid.has(`${containerId}/${ifname}`)) continue
      if (this.#turns.isAdding(keyText(key))) continue
      try {
        const isRemoved = await this.#remove(key, sequence)
        if (isRemoved) this.#deps.log.info({ attachment: keyText(key) }, 'removed by GC')
      } catch (error) {
        failures.push(`${keyText(key)}: ${toCniError(error).message}`)
      }
    }
    if (failures.length > 0) {
      throw new CniError(codes.internal, `${failures.length} attachments could not be removed`, {
        details: failures.join('; '),
      })
    }
  }

  /** For what is gone without a DEL: as a DEL that began at `sequence`. Says whether it was removed. */
  reclaim(key: AttachmentKey, sequence: Sequence): Promise<boolean> {
    return this.#remove(key, sequence)
  }

  /** Says whether it may be removed: not when its ADD began after what asks for the removal. */
  async #remove(key: AttachmentKey, sequence: Sequence): Promise<boolean> {
    const text = keyText(key)
    const { ipam, pods, bootId } = this.#deps
    const isOvertaken = () => {
      const add = this.#added.get(text) ?? ipam.get(key)?.sequence
      return add !== undefined && !mayUndo(sequence, add, bootId)
    }
    if (isOvertaken()) return false
    return await this.#turns.take(text, 'del', new AbortController().signal, async () => {
      if (isOvertaken()) return false
      const allocation = ipam.get(key)
      // The address last: until then nobody else can get it while something of this pod is left.
      if (allocation !== undefined) await pods.remove(allocation)
      else await pods.removeDevice(hostDeviceOf(key))
      await ipam.release(key)
      this.#added.delete(text)
      return true
    })
  }

  /** @throws CniError */
  async check(request: CniRequest, signal: AbortSignal): Promise<void> {
    const { key, text } = identify(request)
    await this.#turns.take(text, 'check', signal, async () => {
      const { ipam, pods, hostNamespace } = this.#deps
      const allocation = ipam.get(key)
      if (allocation === undefined) {
        throw new CniError(codes.checkFailed, `no allocation for ${text}`)
      }
      using netns = openPodNamespace(request.netns, hostNamespace)
      await pods.check(allocation, netns)
      const missing = this.#deps.missingHostPorts?.(allocation) ?? []
      if (missing.length > 0) {
        const message = `${text}: host ports that are not served: ${missing.join(', ')}`
        throw new CniError(codes.checkFailed, message)
      }
    })
  }

  /** Keeps others from taking the same host ports until what asks for them is in a record. @throws CniError hostPortTaken */
  #claim(text: string, wanted: Claim): Disposable {
    const { ipam, hasHostPorts, bootId } = this.#deps
    const { portMappings = [] } = wanted
    if (!hasHostPorts || portMappings.length === 0) return { [Symbol.dispose]: () => undefined }
    // What was added before the machine started anew has ended with it; and of one pod the later sandbox counts.
    const living = ipam.list().filter(({ sequence }) => sequence?.bootId === bootId)
    for (const other of [...living, ...this.#claims.values()]) {
      if (keyText(other.key) === text || isSamePod(other, wanted)) continue
      const clash = findClash(portMappings, other.portMappings ?? [])
      if (clash === undefined) continue
      const holder = other.podName ?? other.key.containerId
      const message = `host port ${formatPortMapping(clash)}: ${other.podNamespace ?? ''}/${holder} of this node has it`
      throw new CniError(codes.hostPortTaken, message)
    }
    this.#claims.set(text, wanted)
    return { [Symbol.dispose]: () => this.#claims.delete(text) }
  }

  /** @throws PodError undo-failed */
  async #undo(allocation: Allocation): Promise<void> {
    await this.#deps.pods.remove(allocation).catch((cause: unknown) => {
      const text = keyText(allocation.key)
      throw new PodError('undo-failed', `${text}: could not be undone`, { cause })
    })
  }

  /** Else the pod would be called ready before its port answers. @throws CniError 11 */
  async #whenHostPortsServed(allocation: Allocation, signal: AbortSignal): Promise<void> {
    const { hostPortsServed, missingHostPorts } = this.#deps
    const { portMappings = [] } = allocation
    if (hostPortsServed === undefined || portMappings.length === 0) return
    const late = AbortSignal.timeout(HOST_PORTS_WITHIN_MS)
    try {
      await hostPortsServed(allocation, AbortSignal.any([signal, late]))
    } catch (error) {
      signal.throwIfAborted()
      const missing = missingHostPorts?.(allocation) ?? []
      const which = missing.length > 0 ? missing : portMappings.map(formatPortMapping)
      const message = `host ports that are not served yet: ${which.join(', ')}; 'sinabro status' on this node says what keeps services from being written`
      throw new CniError(codes.tryAgainLater, message, { cause: error })
    }
  }

  /** Runs one verb and turns whatever goes wrong into what the runtime understands. */
  async answer<T>(verb: string, request: CniRequest, run: () => Promise<T>): Promise<T> {
    const { log } = this.#deps
    const attachment = request.containerId === '' ? request.config.name : identify(request).text
    const startedAt = performance.now()
    const tookMs = () => Math.round((performance.now() - startedAt) * 10) / 10
    try {
      const result = await run()
      log.info({ verb, attachment, tookMs: tookMs() }, 'done')
      return result
    } catch (error) {
      const known = toCniError(error)
      log.warn({ verb, attachment, tookMs: tookMs(), cniCode: known.cniCode, error }, 'failed')
      throw known
    }
  }
}

type Claim = Pick<AllocationRequest, 'key' | 'podNamespace' | 'podName' | 'portMappings'>

function isSamePod(one: Claim, other: Claim): boolean {
  return (
    one.podName !== undefined &&
    one.podName === other.podName &&
    one.podNamespace === other.podNamespace
  )
}

function identify({ config, containerId, ifname }: CniRequest): {
  readonly key: AttachmentKey
  readonly text: string
} {
  const key = { network: config.name, containerId, ifname }
  return { key, text: keyText(key) }
}

function podMacOf({ mac, hostDevice, incarnation }: Allocation): string {
  return mac ?? pairMacs(hostDevice, incarnation).podMac
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
