// `just deploy-agent`, `status`, `deploy-test-pods`: on the cluster of `npm run test:kubernetes -- up` if one is up, else on the one
// that kubectl's context names. How the image comes onto the nodes is all that differs.
import { run } from '../lab/command.ts'
import { Cluster } from './cluster.ts'
import { TEST_IMAGE } from './images.ts'
import {
  applySinabro,
  imageArchive,
  importImage,
  type Kubectl,
  MANIFEST,
  nodesReady,
  rollAgents,
  sayStatus,
} from './sinabro-network.ts'

const LOAD_TIMEOUT_MS = 600_000
const TEST_PODS = 'sinabro-test-pods'

interface Target extends Kubectl {
  readonly name: string
  apply(object: object): Promise<void>
  loadImage(): Promise<void>
  applyAgent(): Promise<unknown>
}

async function findTarget(): Promise<Target> {
  if (Cluster.isUp()) {
    const cluster = Cluster.open()
    return {
      name: 'the test cluster of this machine',
      kubectl: (...args) => cluster.kubectl(...args),
      apply: (object) => cluster.apply(object),
      loadImage: () => importImage(cluster),
      applyAgent: () => applySinabro(cluster),
    }
  }
  const kubectl = async (...args: readonly string[]): Promise<string> =>
    (await run(['kubectl', ...args], { timeoutMs: LOAD_TIMEOUT_MS })).stdout
  const context = (await kubectl('config', 'current-context')).trim()
  return {
    name: `context ${context}`,
    kubectl,
    apply: async (object) => {
      await run(['kubectl', 'apply', '-f', '-'], { input: JSON.stringify(object) })
    },
    loadImage: () => loadInto(context),
    applyAgent: () => kubectl('apply', '-f', MANIFEST),
  }
}

async function loadInto(context: string): Promise<void> {
  const archive = await imageArchive()
  const name = /^kind-(.+)$/.exec(context)?.[1]
  if (name === undefined) {
    throw new Error(
      `how an image comes onto the nodes of ${context} is not known here: run 'ctr -n k8s.io images import ${archive}' on each`,
    )
  }
  await run(['kind', 'load', 'image-archive', archive, '--name', name], {
    timeoutMs: LOAD_TIMEOUT_MS,
  })
}

async function deployAgent(target: Target): Promise<void> {
  await target.loadImage()
  await target.applyAgent()
  // The tag is the same for every build of a version, so a changed image alone would change nothing.
  await rollAgents(target)
  await nodesReady(target)
  await sayStatus(target, console.log)
}

/** A web server on every node, and what it takes to ask one from another. */
async function deployTestPods(target: Target): Promise<void> {
  const labels = { app: TEST_PODS }
  const server = { name: 'web', image: TEST_IMAGE, args: ['netexec', '--http-port=8080'] }
  const object = {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: TEST_PODS, namespace: 'default' },
    spec: {
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { tolerations: [{ operator: 'Exists' }], containers: [server] },
      },
    },
  }
  await target.apply(object)
  await target.kubectl('rollout', 'status', `daemonset/${TEST_PODS}`, '--timeout=180s')
  console.log(await target.kubectl('get', 'pods', '-l', `app=${TEST_PODS}`, '-o', 'wide'))
}

const COMMANDS: Record<string, (target: Target) => Promise<void>> = {
  'deploy-agent': deployAgent,
  'deploy-test-pods': deployTestPods,
  status: (target) => sayStatus(target, console.log),
}

const command = COMMANDS[process.argv[2] ?? '']
try {
  if (command === undefined) throw new Error(`expected one of ${Object.keys(COMMANDS).join(', ')}`)
  const target = await findTarget()
  console.log(`on ${target.name}`)
  await command(target)
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
}
