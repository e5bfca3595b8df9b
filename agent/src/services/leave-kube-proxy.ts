// What others have left in the kernel goes once our programs serve everything: rules of portmap, and if asked for those of kube-proxy.
import { readFileSync } from 'node:fs'
import { createTool } from '../masquerade/nft.ts'
import type { Log } from '../runtime/log.ts'
import { formatProxyRules, removeProxyRules } from './kube-proxy.ts'
import type { NetfilterWorld } from './netfilter-chains.ts'
import { type PodOfPortmap, removePortmapChains } from './portmap.ts'

export interface LeaveOptions {
  /** New connections to Services are translated by our programs, those of sockets too. */
  readonly isServing: () => boolean
  readonly log: Log
  /** The node, if it is not this process's. */
  readonly world?: NetfilterWorld
}

/** Ten thousand Services have some 6 MB of chains. */
const OUTPUT_LIMIT_BYTES = 64 << 20
const TIMEOUT_MS = 120_000

/** @throws Error if it is too early, or with what a tool or the kernel refused: to be tried again */
export async function leaveKubeProxy(
  { isServing, log, world }: LeaveOptions,
  signal: AbortSignal,
): Promise<void> {
  if (!isServing()) {
    throw new Error('the rules of kube-proxy stay until our programs serve all Services')
  }
  const { found, unseen } = await removeProxyRules(world ?? nodeOf(signal))
  const isIpvs = found.filter(({ kind }) => kind === 'ipvs')
  const removed = found.filter(({ kind }) => kind !== 'ipvs').map(formatProxyRules)
  if (removed.length > 0) log.info({ removed }, 'removed what kube-proxy had left')
  for (const one of isIpvs) {
    const left = formatProxyRules(one)
    log.warn({ left }, "left: 'ipvsadm --clear; ip link delete kube-ipvs0' removes it")
  }
  if (unseen.length > 0) log.warn({ unseen }, 'could not look for all that kube-proxy leaves')
}

/** Rules for host ports of pods that are ours to serve by now. @throws Error as above */
export async function leavePortmap(
  { isServing, log, world, pods }: LeaveOptions & { readonly pods: readonly PodOfPortmap[] },
  signal: AbortSignal,
): Promise<void> {
  if (!isServing()) {
    throw new Error('the rules of portmap stay until our programs serve all host ports')
  }
  const { removed, unseen } = await removePortmapChains(world ?? nodeOf(signal), pods)
  if (removed > 0) log.info({ removed }, 'removed chains of portmap: host ports are ours')
  if (unseen.length > 0) log.warn({ unseen }, 'could not look for all that portmap leaves')
}

function nodeOf(signal: AbortSignal): NetfilterWorld {
  return {
    run: (program, args, script = '') => {
      const inTime = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)])
      return createTool(program, [], OUTPUT_LIMIT_BYTES)(args, script, inTime)
    },
    procNet: (name) => {
      try {
        return readFileSync(`/proc/net/${name}`, 'utf8')
      } catch {
        // A kernel without it.
        return undefined
      }
    },
  }
}
