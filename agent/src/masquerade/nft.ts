// Runs nft(8), or another tool of its kind, with a script on standard input; no shell, no outside data in its arguments.
import { spawn } from 'node:child_process'

export class NftError extends Error {
  override readonly name = 'NftError'
  /** 'missing': no nft on this machine; 'refused': it or the kernel said no, in the message. */
  readonly code: 'missing' | 'refused'

  constructor(code: 'missing' | 'refused', message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

const OUTPUT_LIMIT_BYTES = 4 << 20

/** @throws NftError */
export type Nft = (args: readonly string[], script: string, signal: AbortSignal) => Promise<string>

/** `prefix` enters a namespace before it: ['ip', 'netns', 'exec', 'x']. */
export function createNft(prefix: readonly string[] = []): Nft {
  return createTool('nft', prefix)
}

/** The same for another program; `limitBytes` is of what it prints. */
export function createTool(
  name: string,
  prefix: readonly string[] = [],
  limitBytes = OUTPUT_LIMIT_BYTES,
): Nft {
  return (args, script, signal) => {
    const command = [...prefix, name, ...args]
    return runTool(name, command, script, signal, limitBytes)
  }
}

function runTool(
  name: string,
  command: readonly string[],
  script: string,
  signal: AbortSignal,
  limitBytes: number,
): Promise<string> {
  const [program = name, ...args] = command
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { signal, stdio: ['pipe', 'pipe', 'pipe'] })
    let output = ''
    let complaint = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
      if (output.length > limitBytes) child.kill()
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (complaint.length < 4096) complaint += text
    })
    child.on('error', (error) => {
      const isMissing = 'code' in error && error.code === 'ENOENT'
      reject(
        isMissing ? new NftError('missing', `${name} is not installed`, { cause: error }) : error,
      )
    })
    child.on('close', (status) => {
      if (status === 0) resolve(output)
      else reject(new NftError('refused', `${name}: exit ${status}: ${complaint.trim()}`))
    })
    // A child that ends before it has read everything is reported by its exit status.
    child.stdin.on('error', () => undefined)
    child.stdin.end(script)
  })
}
