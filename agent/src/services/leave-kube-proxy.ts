// At a start that asks for it: what kube-proxy has left in the kernel goes, once our programs serve everything.
import { readFileSync } from 'node:fs'
import { createTool } from '../masquerade/nft.ts'
import type { Log } from '../runtime/log.ts'
import { formatProxyRules, type ProxyWorld, removeProxyRules } from './kube-proxy.ts'

export interface LeaveOptions {
  /** New connections to Services are translated by our programs. */
  readonly isServing: () => boolean
  readonly log: Log
  /** The node, if it is not this process's. */
  readonly world?: ProxyWorld
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

function nodeOf(signal: AbortSignal): ProxyWorld {
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
