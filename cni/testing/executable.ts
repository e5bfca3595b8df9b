// Runs the built executable as a container runtime would: verb in the environment, configuration on stdin.
import { spawn } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, onTestFinished } from 'vitest'

export const executable = new URL('../build/sinabro-cni', import.meta.url).pathname

export interface Call {
  /** Replaces the usual CNI_* variables one by one; `undefined` leaves one out. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Text as it is, or a value to be written as JSON. Default: a usable configuration. */
  readonly stdin?: unknown
  /** Leaves stdin open after that. */
  readonly isStdinLeftOpen?: boolean
  /** A command that gets the executable's path as its last argument. */
  readonly through?: readonly [string, ...string[]]
  readonly uid?: number
}

export interface Outcome {
  readonly exitCode: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
}

/** A folder for one test, with a file that stands for a network namespace: the executable only asks whether it is its own. */
export class Place {
  readonly folder: string
  readonly netns: string
  readonly socket: string
  readonly stateDir: string

  /** What to run when the test ends. A concurrent test gives the one of its own context. */
  readonly atEnd: (cleanUp: () => void) => void

  constructor(atEnd: (cleanUp: () => void) => void = onTestFinished) {
    this.atEnd = atEnd
    this.folder = mkdtempSync(join(tmpdir(), 'sinabro-cni-'))
    this.netns = join(this.folder, 'netns')
    this.socket = join(this.folder, 'agent.sock')
    this.stateDir = join(this.folder, 'state')
    writeFileSync(this.netns, '')
    atEnd(() => rmSync(this.folder, { recursive: true, force: true }))
  }

  config(members: object = {}): Record<string, unknown> {
    const { socket, stateDir } = this
    const base = { cniVersion: '1.0.0', name: 'pods', type: 'sinabro-cni', connectWaitMs: 200 }
    return { ...base, socket, stateDir, ...members }
  }

  call(verb: string | undefined, call: Call = {}): Promise<Outcome> {
    const env = {
      CNI_COMMAND: verb,
      CNI_CONTAINERID: 'c0ffee',
      CNI_NETNS: this.netns,
      CNI_IFNAME: 'eth0',
      CNI_ARGS: 'K8S_POD_NAME=web-0',
      CNI_PATH: '/opt/cni/bin',
      ...call.env,
    }
    return execute({ ...call, env, stdin: 'stdin' in call ? call.stdin : this.config() })
  }
}

let forAll: string | undefined
let remove = (): void => undefined
afterAll(() => remove())
/** A copy where another user reaches it: the tree may lie in a home that is closed to others. */
function executableForAll(): string {
  if (forAll !== undefined) return forAll
  const folder = mkdtempSync(join(tmpdir(), 'sinabro-cni-for-all-'))
  remove = () => rmSync(folder, { recursive: true, force: true })
  chmodSync(folder, 0o755)
  forAll = join(folder, 'sinabro-cni')
  copyFileSync(executable, forAll)
  chmodSync(forAll, 0o755)
  return forAll
}

/** Exactly the given environment. */
export function execute(call: Call): Promise<Outcome> {
  if (!existsSync(executable)) throw new Error(`${executable} is not built: npm run build`)
  const path = call.uid === undefined ? executable : executableForAll()
  const [program, ...args] = [...(call.through ?? []), path]
  const env = Object.fromEntries(
    Object.entries(call.env ?? {}).filter(
      (entry): entry is [string, string] => entry[1] !== undefined,
    ),
  )
  return new Promise((resolve, reject) => {
    const uid = call.uid === undefined ? {} : { uid: call.uid, gid: call.uid }
    const child = spawn(program ?? path, args, {
      env: { PATH: '/usr/bin:/bin', ...env },
      ...uid,
    })
    let [stdout, stderr] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    // The executable may well end before it has read everything.
    child.stdin.on('error', () => undefined)
    child.once('error', reject)
    child.once('close', (exitCode, signal) => resolve({ exitCode, signal, stdout, stderr }))
    child.stdin.write(stdinBytes(call.stdin ?? ''))
    if (!call.isStdinLeftOpen) child.stdin.end()
  })
}

function stdinBytes(stdin: unknown): string | Uint8Array {
  return typeof stdin === 'string' || stdin instanceof Uint8Array ? stdin : JSON.stringify(stdin)
}
