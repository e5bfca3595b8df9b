// A killed run's cgroups on a real kernel: the next run ends what lives there and removes them, and no others.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, rmdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'

const source = join(import.meta.dirname, 'cgroup.ts')

interface Run {
  readonly child: ChildProcess
  readonly path: string
  readonly inhabitant: number
}

/** A run of its own, in a process of its own: it has a cgroup with a process in a child of that, until it is killed. */
async function startRun(): Promise<Run> {
  const script = `
    import { spawn } from 'node:child_process'
    import { once } from 'node:events'
    import { TestCgroup } from ${JSON.stringify(source)}
    const cgroup = TestCgroup.open()
    const join = 'echo $$ >"$0/cgroup.procs" && echo && exec sleep infinity'
    const inhabitant = spawn('sh', ['-c', join, cgroup.child('inner')])
    await once(inhabitant.stdout, 'data')
    console.log(cgroup.path, inhabitant.pid)
    process.stdin.resume()`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const [line] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string]
  const [path = '', pid] = line.trim().split(' ')
  const run = { child, path, inhabitant: Number(pid) }
  onTestFinished(() => end(run))
  return run
}

async function end({ child, path, inhabitant }: Run): Promise<void> {
  child.kill('SIGKILL')
  if (!existsSync(path)) return
  process.kill(inhabitant, 'SIGKILL')
  await expect.poll(() => isAlive(inhabitant), { timeout: 10_000 }).toBe(false)
  rmdirSync(join(path, 'inner'))
  rmdirSync(path)
  execFileSync('umount', ['--lazy', dirname(path)])
  rmdirSync(dirname(path))
}

/** Who has ended and was not waited for yet runs no program. */
const isAlive = (pid: number) => existsSync(`/proc/${pid}/exe`)

test('runs remove what a killed one left and end what lives there, and leave the living alone', async () => {
  const killed = await startRun()
  const living = await startRun()
  expect([killed.path, living.path].map((path) => existsSync(path))).toEqual([true, true])
  killed.child.kill('SIGKILL')
  await once(killed.child, 'exit')
  await startRun()
  await expect.poll(() => isAlive(killed.inhabitant), { timeout: 10_000 }).toBe(false)
  // Where a process had not ended yet when the first one looked.
  await startRun()
  expect([killed.path, dirname(killed.path)].map((path) => existsSync(path))).toEqual([
    false,
    false,
  ])
  expect([existsSync(living.path), isAlive(living.inhabitant)]).toEqual([true, true])
})
