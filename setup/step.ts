// One build step: runs a command only when the content of its inputs, or the command itself, has changed.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

export interface Step {
  /** Path of what is made, relative to the root of the tree. */
  readonly output: string
  /** Glob patterns of everything the output depends on, relative to the root. */
  readonly inputs: readonly string[]
  readonly command: readonly [string, ...string[]]
}

/** Runs the step if needed; says whether it did. The digest of the inputs lies beside the output. */
export function runStep(root: string, step: Step): boolean {
  const output = join(root, step.output)
  const stamp = `${output}.inputs`
  const digest = digestOf(root, step)
  if (existsSync(output) && existsSync(stamp) && readFileSync(stamp, 'utf8') === digest)
    return false
  mkdirSync(dirname(output), { recursive: true })
  const [program, ...args] = step.command
  execFileSync(program, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })
  writeFileSync(stamp, digest)
  return true
}

function digestOf(root: string, step: Step): string {
  const hash = createHash('sha256').update(JSON.stringify(step.command))
  for (const file of globSync([...step.inputs], { cwd: root }).sort()) {
    hash.update(`\0${file}\0`).update(readFileSync(join(root, file)))
  }
  return hash.digest('hex')
}
