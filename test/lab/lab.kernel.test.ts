// The lab alone, without agents: nodes that see each other and nothing of the host, and labs that leave nothing behind.
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { cgroup2MountPoint, processesIn } from './cgroup.ts'
import { closed, run } from './command.ts'
import { Lab } from './lab.ts'
import { isAlive, labPlaces, TREE } from './places.ts'

const NAME = `test-lab-${process.pid}`
const LAB_COMMAND = [process.execPath, join(TREE, 'test/lab/main.ts')]
let lab: Lab

beforeAll(async () => {
  lab = await Lab.up({ name: NAME, nodes: 2, canReplace: true, underlayMtu: 1400 })
})

afterAll(() => lab?.down())

const cgroup2 = (): string => cgroup2MountPoint(readFileSync('/proc/mounts', 'utf8')) ?? ''

test.each(['172.18.0.2', 'fd18::2', '172.18.0.254', 'fd18::fe'])('node1 reaches %s', async (to) => {
  const { stdout } = await lab.node(1).exec(['ping', '-c', '1', '-W', '5', to])
  expect(stdout).toContain('1 received')
})

test('the underlay has the MTU that was asked for, and not a byte more gets through whole', async () => {
  const ping = (payload: number) =>
    lab
      .node(1)
      .exec(['ping', '-M', 'do', '-c', '1', '-W', '5', '-s', String(payload), '172.18.0.2'], {
        canFail: true,
      })
  const headerBytes = 28 // IPv4 and ICMP
  expect((await ping(1400 - headerBytes)).status).toBe(0)
  expect((await ping(1401 - headerBytes)).status).not.toBe(0)
})

test('sinabro is in the PATH of a node', async () => {
  const { stdout } = await lab.node(1).exec(['sinabro', '--version'])
  expect(stdout).toMatch(/^\d+[.]\d+[.]\d+\n$/)
})

test('a node has its own name, processes, devices, cgroup, bpffs and folders', async () => {
  const script = `hostname; cat /proc/1/comm; ls /sys/class/net | tr '\\n' ' '; echo
    grep -c : /proc/net/dev; sed -n 's/^0:://p' /proc/self/cgroup
    touch /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/bpf/x
    touch /run/x /etc/cni/net.d/x /opt/cni/bin/x /var/lib/sinabro/x /etc/x /opt/x /var/lib/x`
  const { stdout } = await lab.node(1).exec(['sh', '-c', script])
  expect(stdout.split('\n').map((line) => line.trim())).toEqual([
    'node1',
    'sh',
    'eth0 lo',
    '2',
    '/',
    '',
  ])
  const other = await lab
    .node(2)
    .exec(['ls', '/sys/fs/bpf', '/run', '/etc/cni/net.d', '/opt/cni/bin'])
  expect(other.stdout.split('\n')).not.toContain('x')
  for (const path of ['/run/x', '/etc/x', '/opt/x', '/var/lib/x']) {
    expect(existsSync(path), path).toBe(false)
  }
})

test('what a command on a node started is in the cgroup of that node', async () => {
  const child = lab.node(2).machine.spawn(['sleep', '1000'], { cgroup: 'pod-x', stdio: 'ignore' })
  const ended = closed(child)
  const cgroup = join(lab.node(2).machine.state.cgroup, 'pod-x')
  await expect.poll(() => processesIn(cgroup).length).toBe(2) // nsenter waits for the command
  for (const pid of processesIn(cgroup)) process.kill(pid, 'SIGKILL')
  expect(await ended).toBe(137)
})

test('Lab.open() finds the lab again, and its nodes still answer', async () => {
  const again = Lab.open(NAME)
  expect(again.nodes.map((node) => node.name)).toEqual(['node1', 'node2'])
  expect((await again.node(2).exec(['hostname'])).stdout.trim()).toBe('node2')
})

test('two labs stand side by side with the same addresses', async () => {
  const other = await Lab.up({ name: `${NAME}-b`, nodes: 1, canReplace: true, families: 'ipv6' })
  try {
    const { stdout } = await other.node(1).exec(['ping', '-c', '1', '-W', '5', 'fd18::fe'])
    expect(stdout).toContain('1 received')
    expect((await other.node(1).exec(['ip', '-4', 'route'])).stdout).toBe('')
  } finally {
    await other.down()
  }
  expect(lab.node(1).machine.isUp).toBe(true)
})

test('Lab.up() refuses the name of a lab that another process is using', async () => {
  const places = labPlaces(NAME)
  const code = `
    import { Lab } from '${TREE}/test/lab/lab.ts'
    await Lab.up({ name: '${NAME}', nodes: 1, canReplace: true }).catch((e) => console.log(e.code))`
  const { stdout } = await run([process.execPath, '--input-type=module', '-e', code])
  expect(stdout.trim()).toBe('in-use')
  await expect(run([...LAB_COMMAND, 'down', '--name', NAME])).rejects.toThrow('is being used by')
  expect(existsSync(places.stateFile)).toBe(true)
})

test('Lab.down() ends every process, removes the cgroup and the folder, and can be repeated', async () => {
  const name = `${NAME}-c`
  const doomed = await Lab.up({ name, nodes: 2, canReplace: true })
  const cgroup = dirname(doomed.node(1).machine.state.cgroup)
  doomed.node(1).machine.spawn(['sleep', '1000'], { stdio: 'ignore', detached: true }).unref()
  const { init } = doomed.node(1).machine.state
  await doomed.down()
  await Lab.down(name)
  // Out of the cgroup a process may still be on its last steps.
  await expect.poll(() => isAlive(init)).toBe(false)
  expect(existsSync(cgroup)).toBe(false)
  expect(existsSync(labPlaces(name).dir)).toBe(false)
  expect(readFileSync('/proc/mounts', 'utf8')).not.toContain(name)
})

test('a run killed at any point of raising its lab leaves nothing that the next run does not remove', async () => {
  const name = `${NAME}-d`
  const code = `
    import { Lab } from '${TREE}/test/lab/lab.ts'
    await Lab.up({ name: '${name}', nodes: 2, canReplace: true })
    process.stdout.write('up')
    setInterval(() => {}, 1000)`
  for (const step of ['cgroup', 'machines', 'up']) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = closed(child)
    let output = ''
    child.stdout.on('data', (part: Buffer) => {
      output += part
    })
    const cgroups = (): string[] =>
      readdirSync(cgroup2())
        .filter((entry) => entry.startsWith(`sinabro-lab-${name}-`))
        .map((entry) => join(cgroup2(), entry))
    const reached: Record<string, () => boolean> = {
      cgroup: () => cgroups().length > 0,
      machines: () => cgroups().some((path) => existsSync(join(path, 'node2'))),
      up: () => output === 'up',
    }
    await expect.poll(() => reached[step]?.(), { timeout: 20_000, interval: 1 }).toBe(true)
    const [old = ''] = cgroups()
    child.kill('SIGKILL')
    await ended
    // A lab of any other name sweeps it away.
    const next = await Lab.up({ name: `${NAME}-e`, nodes: 1, canReplace: true })
    expect(existsSync(old)).toBe(false)
    expect(existsSync(labPlaces(name).dir)).toBe(false)
    expect(next.node(1).machine.isUp).toBe(true)
    await next.down()
  }
})
