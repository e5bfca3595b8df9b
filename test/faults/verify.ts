// What a node must be like after every round: exactly its pods, nothing doubled, lost or left over, and all of them reached.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { whatStaysWrong } from '../integration/stage.ts'
import { eventually, type LabNode, type Pod } from '../lab/index.ts'
import { readAllocations } from '../lab/node-state.ts'
import { ping } from '../lab/talk.ts'

interface AgentStatus {
  readonly healthy: boolean
  readonly ranges: readonly { readonly range: string; readonly used: number }[]
  readonly problems: readonly { readonly where: string; readonly message: string }[]
  readonly components: readonly { readonly state: string; readonly message?: string }[]
}

/** Devices of a node that has no pods. */
const OWN_DEVICES = ['eth0', 'lo', 'sb-vxlan']

export async function findFaults(node: LabNode, pods: readonly Pod[]): Promise<string[]> {
  const names = node.pods().map(({ name }) => name)
  const wanted = pods.map(({ name }) => name)
  return [
    ...(names.toSorted().join() === wanted.toSorted().join()
      ? []
      : [`the runtime knows ${names.join(' ')} and not ${wanted.join(' ')}`]),
    ...(await whatStaysWrong(node)),
    ...doubled(pods.flatMap(({ addresses }) => addresses)),
    ...(await devicesTooMany(node)),
    ...filesTooMany(node),
    ...(await whatTheAgentSays(node, pods.length)),
    ...(await unreachable(node, pods)),
  ]
}

function doubled(addresses: readonly string[]): string[] {
  const twice = addresses.filter((address, i) => addresses.indexOf(address) !== i)
  return twice.map((address) => `${address} was given twice`)
}

/** Of any kind: half a pair has no mark yet. */
async function devicesTooMany(node: LabNode): Promise<string[]> {
  const expected = new Set([
    ...OWN_DEVICES,
    ...readAllocations(node.machine).map(({ hostDevice }) => hostDevice),
  ])
  // Links are devices; `bonding_masters` is a file.
  const { stdout } = await node.exec(['find', '/sys/class/net', '-type', 'l', '-printf', '%f\n'])
  const devices = stdout.split('\n').filter((name) => name !== '')
  return devices
    .filter((name) => !expected.has(name))
    .map((name) => `device ${name} belongs to nobody`)
}

/** What a call that was killed left unfinished in the queue lies there for an hour: another call may be writing it. */
function filesTooMany(node: LabNode): string[] {
  const { stateDir } = node.machine.places
  const list = (folder: string): string[] =>
    readdirSync(join(stateDir, folder)).map((name) => join(folder, name))
  const unfinished = ['.', 'allocations', 'quarantine']
    .flatMap(list)
    .filter((path) => path.endsWith('.new'))
  const queued = list('queue').filter((path) => !path.startsWith('queue/.'))
  return [...unfinished, ...list('quarantine'), ...queued].map((path) => `${path} was left over`)
}

async function whatTheAgentSays(node: LabNode, podCount: number): Promise<string[]> {
  let status: AgentStatus | undefined
  const isWell = async (): Promise<boolean> => {
    status = (await node.agent.get('/v1/status')) as AgentStatus | undefined
    return status?.healthy === true && status.problems.length === 0
  }
  await eventually('the agent to be well', isWell).catch(() => undefined)
  if (status === undefined)
    return [`the agent does not answer; its log ends with\n${node.agent.logTail()}`]
  return [
    ...status.ranges
      .filter(({ used }) => used !== podCount)
      .map(({ range, used }) => `${range}: ${used} addresses are in use by ${podCount} pods`),
    ...status.problems.map(({ where, message }) => `the agent says: ${where}: ${message}`),
    ...status.components
      .filter(({ state }) => state !== 'ok')
      .map((component) => `the agent says: ${JSON.stringify(component)}`),
  ]
}

async function unreachable(node: LabNode, pods: readonly Pod[]): Promise<string[]> {
  const place = { machine: node.machine, name: node.name }
  const answers = await Promise.all(
    pods.flatMap(({ name, addresses }) =>
      addresses.map(async (address) =>
        (await ping(place, address)) ? '' : `${name} does not answer at ${address}`,
      ),
    ),
  )
  return answers.filter((answer) => answer !== '')
}
