// Makes the source that the configuration asks for: a directory of manifests, or the API servers of a cluster.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Cluster } from './cluster/cluster.ts'
import { type ReadCredentials, serviceAccount } from './cluster/kubernetes/credentials.ts'
import { KubernetesSource } from './cluster/kubernetes/source.ts'
import { ManifestSource } from './cluster/manifests/source.ts'
import type { ClusterSource } from './cluster/source.ts'
import { type AgentConfig, type KubernetesFrom, version } from './config.ts'
import type { Clock } from './runtime/clock.ts'
import { libDir } from './runtime/lib-dir.ts'
import type { Log } from './runtime/log.ts'

export interface SourceDeps {
  readonly config: AgentConfig
  readonly cluster: Cluster
  readonly clock: Clock
  readonly log: Log
}

export async function createSource({ config, ...deps }: SourceDeps): Promise<ClusterSource> {
  const { source, nodeName, stateDir } = config
  if (source.kind === 'manifests') return new ManifestSource({ dir: source.dir, ...deps })
  const { masquerade } = config
  const isServing = config.services === 'ebpf'
  const needs = {
    services: masquerade === 'ebpf' || isServing,
    endpointSlices: isServing,
    namespaces: masquerade !== 'none',
  }
  const userAgent = `sinabro/${version()}`
  return new KubernetesSource({
    ...(await identityOf(source)),
    nodeName,
    stateDir,
    userAgent,
    needs,
    ...deps,
  })
}

interface Identity {
  readonly servers: readonly string[]
  readonly credentials: ReadCredentials
}

async function identityOf({
  servers,
  serviceAccountDir,
  kubeconfig,
}: KubernetesFrom): Promise<Identity> {
  if (kubeconfig === undefined) return { servers, credentials: serviceAccount(serviceAccountDir) }
  // A megabyte of library that agents in pods never need: a file of its own beside the bundle (ADR 0065).
  const module = (await import(
    kubeconfigModule()
  )) as typeof import('./cluster/kubernetes/kubeconfig.ts')
  const user = module.readKubeconfig(kubeconfig)
  return { servers: [...servers, user.server], credentials: user.credentials }
}

function kubeconfigModule(): string {
  const shipped = join(libDir() ?? '', 'kubeconfig.mjs')
  if (libDir() !== undefined && existsSync(shipped)) return shipped
  return new URL('./cluster/kubernetes/kubeconfig.ts', import.meta.url).href
}
