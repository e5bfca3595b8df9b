// Runs a command to its end and returns what it printed; a failure is an error that carries everything it said.
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { LabError } from './errors.ts'

export interface CommandResult {
  /** Exit code, or 128 + signal number as a shell counts it. */
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export interface CommandOptions {
  readonly input?: string
  readonly env?: Record<string, string>
  readonly signal?: AbortSignal
  /** Kills the command and fails after this long. */
  readonly timeoutMs?: number
  /** Returns a non-zero status instead of throwing. */
  readonly canFail?: boolean
}

export const DEFAULT_COMMAND_TIMEOUT_MS = 60_000

const signalNumbers: Record<string, number> = { SIGINT: 2, SIGKILL: 9, SIGPIPE: 13, SIGTERM: 15 }

/** Exit status of a finished child as a shell would print it. */
export function statusOf(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + (signalNumbers[signal ?? ''] ?? 0)
}

export async function run(
  argv: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const child = start(argv, { stdio: ['pipe', 'pipe', 'pipe'], env: options.env })
  const stdout = collect(child.stdout)
  const stderr = collect(child.stderr)
  child.stdin?.on('error', () => undefined) // a command that reads no input may be gone already
  child.stdin?.end(options.input ?? '')
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    child.kill('SIGKILL')
  }, options.timeoutMs ?? DEFAULT_COMMAND_TIMEOUT_MS)
  const abort = (): void => void child.kill('SIGTERM')
  options.signal?.addEventListener('abort', abort, { once: true })
  try {
    const status = await closed(child)
    const result = { status, stdout: stdout(), stderr: stderr() }
    if (isLate) throw new LabError('timeout', describe(argv, result, 'took too long'))
    if (status !== 0 && options.canFail !== true) {
      throw new LabError('command', describe(argv, result, `exit ${status}`))
    }
    return result
  } finally {
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', abort)
  }
}

export function start(
  argv: readonly string[],
  options: Omit<SpawnOptions, 'env'> & { env?: Record<string, string> | undefined },
): ChildProcess {
  const [program, ...args] = argv
  if (program === undefined) throw new LabError('command', 'empty command')
  const { env, ...rest } = options
  return spawn(program, args, { ...rest, env: env ? { ...process.env, ...env } : process.env })
}

/** Resolves with the exit status once the child is gone and its output is read. */
export function closed(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', (cause) =>
      reject(new LabError('command', `cannot run ${child.spawnfile}: ${cause.message}`, { cause })),
    )
    child.once('close', (code, signal) => resolve(statusOf(code, signal)))
  })
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  const chunks: Buffer[] = []
  stream?.on('data', (chunk: Buffer) => chunks.push(chunk))
  return () => Buffer.concat(chunks).toString()
}

function describe(argv: readonly string[], result: CommandResult, how: string): string {
  const said = `${result.stderr}${result.stdout}`.trim()
  return `${argv.join(' ')}: ${how}${said === '' ? '' : `\n${said}`}`
}
