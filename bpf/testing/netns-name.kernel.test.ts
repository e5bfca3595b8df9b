// A killed run's namespaces on a real kernel: the next run ends what lives there and removes them, and no others.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'

const source = join(import.meta.dirname, 'netns-name.ts')

/** A run of its own, in a process of its own: it has a namespace with a process in it, until it is killed. */
async function startRun(): Promise<{ child: ChildProcess; name: string; inhabitant: number }> {
  const script = `
    import { execFileSync, spawn } from 'node:child_process'
    import { once } from 'node:events'
    import { netnsName } from ${JSON.stringify(source)}
    const name = netnsName()
    execFileSync('ip', ['netns', 'add', name])
    const inhabitant = spawn('ip', ['netns', 'exec', name, 'sh', '-c', 'echo; exec sleep infinity'])
    await once(inhabitant.stdout, 'data')
    console.log(name, inhabitant.pid)
    process.stdin.resume()`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const [line] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string]
  const [name = '', pid] = line.trim().split(' ')
  const inhabitant = Number(pid)
  onTestFinished(() => {
    child.kill('SIGKILL')
    if (isThere(name)) {
      process.kill(inhabitant, 'SIGKILL')
      execFileSync('ip', ['netns', 'del', name])
    }
  })
  return { child, name, inhabitant }
}

const isThere = (name: string) => existsSync(`/run/netns/${name}`)
/** Who has ended and was not waited for yet runs no program. */
const isAlive = (pid: number) => existsSync(`/proc/${pid}/exe`)

test('a run removes what a killed one left and ends what lives there, and leaves the living alone', async () => {
  const killed = await startRun()
  const living = await startRun()
  expect([killed.name, living.name].map(isThere)).toEqual([true, true])
  killed.child.kill('SIGKILL')
  await once(killed.child, 'exit')
  const next = await startRun()
  expect([killed.name, living.name, next.name].map(isThere)).toEqual([false, true, true])
  await expect.poll(() => isAlive(killed.inhabitant)).toBe(false)
  expect(isAlive(living.inhabitant)).toBe(true)
})
