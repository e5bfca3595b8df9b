// New connections all the time, a request on each: whatever a scenario does meanwhile, every one of them is to be answered.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { eventually } from '../../lab/eventually.ts'
import type { Machine } from '../../lab/machine.ts'
import { TEST_IMAGE } from '../images.ts'
import type { Namespace } from './pods.ts'

/** What clients run: each request over a connection of its own, names asked by UDP, the same by a socket that stays. */
const SCRIPTS = {
  fresh: 'fresh-client.sh',
  dig: 'dig-client.sh',
  'held-dns': 'held-dns-client.sh',
} as const
/** Answers to each client from each target that show that it goes on. */
const ENOUGH = 20
const DEADLINE_MS = 60_000

export interface Target {
  readonly address: string
  readonly port: number
}

type Kind = keyof typeof SCRIPTS

export interface LoadOptions {
  readonly kind?: Kind
  readonly outside?: readonly { readonly machine: Machine; readonly targets: readonly Target[] }[]
}

/** By target, in their order. */
interface Counts {
  readonly answered: readonly number[]
  readonly lost: readonly string[]
}

interface Client {
  readonly name: string
  readonly targets: readonly Target[]
  /** All of its lines so far. */
  said(): Promise<string>
  end(): void
}

export class Load implements Disposable {
  readonly #clients: readonly Client[]

  private constructor(clients: readonly Client[]) {
    this.#clients = clients
  }

  /** From a pod of every node, and from machines. Returns when each has been answered by each of its targets. */
  static async start(
    space: Namespace,
    inside: readonly Target[],
    { outside = [], kind = 'fresh' }: LoadOptions = {},
  ): Promise<Load> {
    const { nodes } = space.cluster
    await space.apply(...nodes.map(({ name }) => clientPod(kind, name, inside)))
    await space.kubectl('wait', '--for=condition=Ready', 'pod', '-l', `app=${kind}`)
    const pods = nodes.map(({ name }): Client => {
      const pod = podName(kind, name)
      return {
        name: pod,
        targets: inside,
        said: () => space.kubectl('logs', pod),
        end: () => undefined, // with its namespace
      }
    })
    const machines = outside.map(({ machine, targets }) => clientOn(kind, machine, targets))
    const load = new Load([...pods, ...machines])
    await load.check()
    return load
  }

  /** Each has gone on since this call. @throws Error that names the first requests that were lost, ever */
  async check(): Promise<void> {
    const before = await this.#counts()
    await eventually(
      'every client to be answered',
      async () => {
        const now = await this.#counts()
        const lost = now.flatMap((counts) => counts.lost)
        if (lost.length > 0) throw new Error(`${lost.length} lost: ${lost.slice(0, 5).join('; ')}`)
        return now.every(({ answered }, i) =>
          answered.every((count, j) => count >= (before[i]?.answered[j] ?? 0) + ENOUGH),
        )
      },
      DEADLINE_MS,
    )
  }

  /** Of all clients. */
  async answered(): Promise<number> {
    const counts = (await this.#counts()).flatMap(({ answered }) => answered)
    return counts.reduce((sum, count) => sum + count, 0)
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients) client.end()
  }

  #counts(): Promise<Counts[]> {
    return Promise.all(this.#clients.map(countsOf))
  }
}

async function countsOf({ name, targets, said }: Client): Promise<Counts> {
  const answered = targets.map(() => 0)
  const lost: string[] = []
  for (const line of (await said()).split('\n')) {
    const [number = '', verb, ...rest] = line.split(' ')
    if (verb === 'ok') answered[Number(number) - 1] = Number(rest[0])
    if (verb === 'lost') lost.push(`${name} ${rest.join(' ')}`)
  }
  return { answered, lost }
}

function command(kind: Kind): string[] {
  return ['bash', '-c', readFileSync(join(import.meta.dirname, SCRIPTS[kind]), 'utf8')]
}

function clientOn(kind: Kind, machine: Machine, targets: readonly Target[]): Client {
  const child = machine.spawn(command(kind), {
    cgroup: kind,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { TARGETS: asText(targets) },
    detached: true,
  })
  let text = ''
  child.stdout?.setEncoding('utf8').on('data', (part: string) => {
    text += part
  })
  let isEnded = false
  return {
    name: machine.name,
    targets,
    said: async () => text,
    end: () => {
      if (isEnded || child.pid === undefined) return
      isEnded = true
      process.kill(-child.pid, 'SIGKILL') // its subshells too: it leads a process group
    },
  }
}

function clientPod(kind: Kind, node: string, targets: readonly Target[]) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: podName(kind, node), labels: { app: kind } },
    spec: {
      nodeName: node,
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'client',
          image: TEST_IMAGE,
          imagePullPolicy: 'IfNotPresent',
          command: command(kind),
          env: [{ name: 'TARGETS', value: asText(targets) }],
        },
      ],
    },
  }
}

function podName(kind: Kind, node: string): string {
  return `${kind}-${node}`
}

function asText(targets: readonly Target[]): string {
  return targets.map(({ address, port }) => `${address},${port}`).join(' ')
}
