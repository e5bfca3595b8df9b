// Our network as its users install it: the image imported on every node, `kubectl apply -f deploy/sinabro.yaml`; and its agents' ends.
import { existsSync, globSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { run } from '../lab/command.ts'
import { TREE } from '../lab/places.ts'
import type { Cluster } from './cluster.ts'
import type { ClusterNode } from './node.ts'
import { inUrl } from './places.ts'

export const MANIFEST = join(TREE, 'deploy/sinabro.yaml')
const UNINSTALL = join(TREE, 'deploy/uninstall.yaml')
const BUNDLE = join(TREE, 'agent/build/sinabro.mjs')
const IMAGE_SOURCES = [
  'agent/build/*.mjs',
  'agent/build/lib/*',
  'deploy/image/*.ts',
  'deploy/image/native/*',
]
const NAMESPACE = 'kube-system'
const DAEMON_SET = 'daemonset/sinabro'
const SELECTOR = 'app.kubernetes.io/name=sinabro'
const BUILD_TIMEOUT_MS = 300_000
/** A label no node has. */
const NOWHERE = 'sinabro.test/nowhere'

/** A cluster whichever way it is reached. */
export interface Kubectl {
  kubectl(...args: readonly string[]): Promise<string>
}

const NODE_SELECTOR = 'nodeSelector: { kubernetes.io/os: linux }'

export async function importImage(cluster: Cluster): Promise<void> {
  const archive = await imageArchive()
  await Promise.all(cluster.nodes.map((node) => node.importImages([archive])))
}

/** The manifest as whoever installs it would edit it; on one node of several networks, if that is named. */
export async function applySinabro(cluster: Cluster, onlyOn?: ClusterNode): Promise<void> {
  let input = readFileSync(MANIFEST, 'utf8')
  for (const [key, value] of Object.entries(settingsFor(cluster))) {
    input = edited(input, new RegExp(`^  (?:# )?${key}: .*$`, 'm'), `  ${key}: "${value}"`)
  }
  if (onlyOn !== undefined) {
    const selector = `nodeSelector: { kubernetes.io/hostname: ${onlyOn.name} }`
    input = edited(input, NODE_SELECTOR, selector)
  }
  await cluster.control.kubectl(['apply', '-f', '-'], { input })
}

/** Without kube-proxy the address of the API server's Service leads nowhere before an agent has seen the API server. */
function settingsFor({ hasKubeProxy, plan }: Cluster): Record<string, string> {
  if (hasKubeProxy) return {}
  const servers = plan.controlAddresses.map((address) => `https://${inUrl(address)}:6443`)
  return {
    services: 'ebpf',
    'kubernetes-api': servers.join(','),
    'external-ip-cidrs': plan.externalRanges.join(','),
  }
}

function edited(manifest: string, what: string | RegExp, by: string): string {
  const text = manifest.replace(what, by)
  if (text === manifest && !manifest.includes(by)) throw new Error(`${MANIFEST} has no '${what}'`)
  return text
}

export async function waitSinabro(cluster: Kubectl): Promise<void> {
  await onSinabro(cluster, 'rollout', 'status', DAEMON_SET, '--timeout=120s')
}

/** No agent anywhere, as after a botched upgrade; pods stay. */
export async function stopAgents(cluster: Kubectl): Promise<void> {
  await patchSelector(cluster, 'true')
  await onSinabro(cluster, 'wait', '--for=delete', 'pod', '-l', SELECTOR, '--timeout=60s')
}

export async function startAgents(cluster: Kubectl): Promise<void> {
  await patchSelector(cluster, null)
  await waitSinabro(cluster)
}

/** All agents anew, by the DaemonSet's own strategy. */
export async function rollAgents(cluster: Kubectl): Promise<void> {
  await onSinabro(cluster, 'rollout', 'restart', DAEMON_SET)
  await waitSinabro(cluster)
}

/** The pod of the agent on this node goes, and the DaemonSet makes another. */
export async function deleteAgent(cluster: Kubectl, node: string): Promise<void> {
  const onNode = ['--field-selector', `spec.nodeName=${node}`]
  await onSinabro(cluster, 'delete', 'pod', '-l', SELECTOR, ...onNode)
}

/** SIGKILL to the agent's process on this node; kubelet starts it again. */
export async function killAgent(node: ClusterNode): Promise<void> {
  await node.machine.exec(['pkill', '-KILL', '-f', '/usr/lib/sinabro/sinabro.mjs'])
}

/** Keys of the ConfigMap, which null removes; counts for agents that start afterwards. */
export async function configure(
  cluster: Kubectl,
  data: Readonly<Record<string, string | null>>,
): Promise<void> {
  const patch = JSON.stringify({ data })
  await onSinabro(cluster, 'patch', 'configmap', 'sinabro', '--type=merge', '--patch', patch)
}

/** What `sinabro status` says on every node. */
export async function sayStatus(cluster: Kubectl, say: (text: string) => void): Promise<void> {
  const pods = await onSinabro(cluster, 'get', 'pods', '-l', SELECTOR, '-o', 'name')
  for (const pod of pods.trim().split('\n').filter(Boolean)) {
    say(await onSinabro(cluster, 'exec', pod, '-c', 'agent', '--', 'sinabro', 'status'))
  }
}

export async function nodesReady(cluster: Kubectl): Promise<void> {
  await cluster.kubectl('wait', '--for=condition=Ready', 'node', '--all', '--timeout=120s')
}

export async function deleteSinabro(cluster: Kubectl): Promise<void> {
  await cluster.kubectl('delete', '-f', MANIFEST)
  await onSinabro(cluster, 'wait', '--for=delete', 'pod', '-l', SELECTOR, '--timeout=60s')
}

/** Every node made clean of it, once its agents are deleted, as docs/uninstall.md says. */
export async function uninstallSinabro(cluster: Kubectl): Promise<void> {
  const name = 'daemonset/sinabro-uninstall'
  await cluster.kubectl('apply', '-f', UNINSTALL)
  try {
    await onSinabro(cluster, 'rollout', 'status', name, '--timeout=100s')
  } catch (cause) {
    const said = await onSinabro(cluster, 'logs', name, '--all-pods', '-c', 'uninstall')
    throw new Error(`the nodes are not clean: ${said}`, { cause })
  } finally {
    await cluster.kubectl('delete', '-f', UNINSTALL)
  }
}

function onSinabro(cluster: Kubectl, ...args: readonly string[]): Promise<string> {
  return cluster.kubectl('-n', NAMESPACE, ...args)
}

async function patchSelector(cluster: Kubectl, value: string | null): Promise<void> {
  const patch = { spec: { template: { spec: { nodeSelector: { [NOWHERE]: value } } } } }
  await onSinabro(cluster, 'patch', DAEMON_SET, '--patch', JSON.stringify(patch))
}

/** What `npm run image` made of the build; made here if the build, or the builder, is newer. */
export async function imageArchive(): Promise<string> {
  const { version } = JSON.parse(readFileSync(join(TREE, 'package.json'), 'utf8')) as {
    version: string
  }
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch
  const archive = join(TREE, `deploy/image/build/sinabro-${version}-${architecture}.tar`)
  if (!existsSync(BUNDLE)) throw new Error(`${basename(BUNDLE)} is missing: npm run build`)
  const sources = globSync(IMAGE_SOURCES, { cwd: TREE }).map((file) => statSync(join(TREE, file)))
  const newestMs = Math.max(...sources.map(({ mtimeMs }) => mtimeMs))
  if (!existsSync(archive) || statSync(archive).mtimeMs < newestMs) {
    const main = join(TREE, 'deploy/image/main.ts')
    await run([process.execPath, main], { timeoutMs: BUILD_TIMEOUT_MS })
  }
  return archive
}
