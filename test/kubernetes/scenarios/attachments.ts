// Attachments as a container runtime makes them, through the real libcni; on a network of another name than the cluster's, so that GC
// leaves its pods alone. Addresses come from the same ranges.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ClusterNode } from '../node.ts'
import { BINARIES } from '../versions.ts'

const CONF_DIR = 'etc/cni/net.d'
const WORK = '/run/libcni-test'
const NETWORK = 'libcni-test'
const DRIVER = join(BINARIES, 'libcni')

export interface Answer {
  readonly ok: boolean
  readonly error?: string
  readonly result?: {
    readonly ips?: readonly { readonly address: string }[]
    readonly interfaces?: readonly { readonly name: string; readonly sandbox?: string }[]
  }
}

export interface Question {
  readonly verb: string
  readonly id?: string
  readonly valid?: readonly { readonly containerID: string; readonly ifname: string }[]
}

export interface RuntimeOptions {
  /** Plug-ins in the place of those behind ours. */
  readonly behind?: readonly object[]
  readonly version?: string
  readonly capabilities?: object
  /** Of results: what is in another one this runtime has never heard of. */
  readonly cache?: string
}

export class Runtime {
  readonly #node: ClusterNode
  readonly #common: object

  /** With the agent's own configuration. */
  constructor(node: ClusterNode, options: RuntimeOptions = {}) {
    const { behind = [], version, capabilities, cache = 'cache' } = options
    this.#node = node
    const conf = writeList(node, behind)
    const binDirs = ['/opt/cni/bin', '/usr/lib/cni']
    this.#common = { conf, cache: join(WORK, cache), binDirs, version, capabilities }
  }

  /** Answers in the order of the questions. @throws Error at the first that is refused */
  async ask(...questions: readonly Question[]): Promise<Answer[]> {
    const answers = await this.#answers(questions)
    answers.forEach(({ ok, error }, i) => {
      if (!ok) throw new Error(`${questions[i]?.verb} ${questions[i]?.id ?? ''}: ${error}`)
    })
    return answers
  }

  /** In what words it is refused. @throws Error if it is not */
  async refusal(question: Question): Promise<string> {
    const [answer] = await this.#answers([question])
    if (answer?.ok !== false) throw new Error(`${question.verb} ${question.id} was not refused`)
    return answer.error ?? ''
  }

  async #answers(questions: readonly Question[]): Promise<Answer[]> {
    const lines = questions.map((question) => {
      const id = question.id ?? 'none'
      return JSON.stringify({ ...this.#common, ...question, id, netns: pathOf(id) })
    })
    const { stdout } = await this.#node.machine.exec([DRIVER], { input: `${lines.join('\n')}\n` })
    const answers = stdout.trim().split('\n')
    return answers.map((line) => JSON.parse(line) as Answer)
  }
}

/** A network namespace for each of these while `work` runs. What is attached to them is the caller's to detach. */
export async function withNetworkNamespaces<T>(
  { machine }: ClusterNode,
  ids: readonly string[],
  work: () => Promise<T>,
): Promise<T> {
  const each = (command: string): Promise<unknown> =>
    machine.exec(['sh', '-c', `for path; do ${command}; done`, 'sh', ...ids.map(pathOf)])
  await each('touch "$path" && unshare --net="$path" true')
  try {
    return await work()
  } finally {
    await each('umount "$path"; rm -f "$path"')
    await machine.exec(['rm', '-rf', WORK])
  }
}

/** Commands in that namespace, as those of a pod. */
export function inside({ machine, name }: ClusterNode, id: string) {
  return {
    name: `${id} on ${name}`,
    exec: (argv: readonly string[]) => machine.exec(['nsenter', `--net=${pathOf(id)}`, ...argv]),
  }
}

/** As `ip netns exec` names them. */
function pathOf(id: string): string {
  return `/run/netns/${id}`
}

function writeList(node: ClusterNode, behind: readonly object[]): string {
  const folder = node.machine.onDisk(CONF_DIR)
  const name = readdirSync(folder).find((file) => file.endsWith('sinabro.conflist'))
  if (name === undefined) throw new Error(`no configuration of ours in ${folder}`)
  const list = JSON.parse(readFileSync(join(folder, name), 'utf8')) as { plugins: object[] }
  const path = join(WORK, `${NETWORK}-${behind.length}.conflist`)
  mkdirSync(node.machine.pathOnHost(WORK), { recursive: true })
  const plugins = [...list.plugins.slice(0, 1), ...behind]
  writeFileSync(node.machine.pathOnHost(path), JSON.stringify({ ...list, name: NETWORK, plugins }))
  return path
}
