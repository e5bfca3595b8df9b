// A device without Ethernet header on a lab machine: a tun device whose packets a process of the machine carries to the other one.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { closed, run } from './command.ts'
import { LabError } from './errors.ts'
import type { Machine } from './machine.ts'

/** Each lab compiles its own: runs side by side do not meet. */
export async function compileTun(labDir: string): Promise<string> {
  const program = join(labDir, 'tun')
  mkdirSync(labDir, { recursive: true })
  const flags = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror']
  await run(['gcc', ...flags, join(import.meta.dirname, 'tun.c'), '-o', program])
  return program
}

/** Device `name`, between two addresses that the machines have; it is there until the machine ends. */
export async function addTun(
  machine: Machine,
  program: string,
  name: string,
  [local, remote]: readonly [string, string],
): Promise<void> {
  const argv = [program, name, local, remote]
  const child = machine.spawn(argv, { stdio: ['ignore', 'pipe', 'inherit'] })
  if (child.stdout === null) throw new LabError('command', 'no pipe')
  const lines = createInterface({ input: child.stdout })
  const ready = new Promise<string>((resolve) => lines.once('line', resolve))
  const said = await Promise.race([ready, closed(child)])
  if (said !== 'ready') throw new LabError('command', `tun on ${machine.name} ended: ${said}`)
  child.stdout.destroy()
  child.unref()
}
