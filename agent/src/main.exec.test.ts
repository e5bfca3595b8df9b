// The program as a shell sees it: what it prints where, and the exit codes that scripts rely on.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

let dir: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sinabro-main-'))
})
afterEach(() => {
  rmSync(dir, { recursive: true })
})

function sinabro(...argv: string[]) {
  const program = join(import.meta.dirname, 'main.ts')
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...argv], {
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}

test('version prints the version', () => {
  expect(sinabro('version')).toMatchObject({ status: 0, stdout: '0.1.0\n', stderr: '' })
  expect(sinabro('--version')).toMatchObject({ status: 0, stdout: '0.1.0\n' })
})

test('a wrong command line exits with 2 and says so on stderr', () => {
  const { status, stdout, stderr } = sinabro('agent', '--vni', 'x')
  expect([status, stdout]).toEqual([2, ''])
  expect(stderr).toContain('expected a whole number')
})

test('status without an agent exits with 3 and says what to do', () => {
  const { status, stderr } = sinabro('status', '--run-dir', dir)
  expect(status).toBe(3)
  expect(stderr).toMatch(
    /^sinabro: no agent answers at .*agent\.sock\. Start it with 'sinabro agent/,
  )
})

test('uninstall by somebody who is not root exits with 1, says so and touches nothing', () => {
  const program = [process.execPath, join(import.meta.dirname, 'main.ts'), 'uninstall']
  const [file = '', ...args] =
    process.geteuid?.() === 0 ? ['unshare', '--user', ...program] : program
  const { status, stdout, stderr } = spawnSync(file, args, { encoding: 'utf8' })
  expect([status, stdout]).toEqual([1, ''])
  expect(stderr).toBe('sinabro: uninstall needs root: it removes devices and rules\n')
})

test('agent with a directory that is not there exits with 1 and says what to do', () => {
  const { status, stderr } = sinabro(
    ...['agent', '--source', `manifests:${dir}/none`, '--state-dir', `${dir}/state`],
    ...['--log-level', 'silent'],
  )
  expect(status).toBe(1)
  expect(stderr).toContain(`sinabro: ${dir}/none: no such directory. Make it and put the Node`)
  expect(existsSync(join(dir, 'state'))).toBe(false)
})

test('status shows what the agent says in each format, and exits with 4 when something does not work', async () => {
  const { spawn } = await import('node:child_process')
  const body = JSON.stringify({
    version: '0.1.0',
    node: 'n1',
    pid: 7,
    startedAt: new Date().toISOString(),
    ready: true,
    healthy: false,
    source: 'manifests:/x',
    nodeCount: 1,
    podCount: 0,
    ranges: [{ range: '10.244.1.0/24', used: 0, capacity: 253 }],
    facts: { attach: 'tcx' },
    features: [],
    conditions: [
      {
        type: 'PodAddressesAvailable',
        status: 'True',
        since: Date.now(),
        reason: 'R',
        message: 'm',
      },
    ],
    events: [],
    components: [{ component: 'overlay', state: 'degraded', since: Date.now(), message: 'no way' }],
    problems: [{ where: '/x/a.yaml:3', object: 'Node/n2', message: 'bad' }],
  })
  const server = createServer((_request, response) => response.end(body))
  await new Promise<void>((resolve) => server.listen(join(dir, 'agent.sock'), resolve))
  const show = (format: string): Promise<{ status: number | null; stdout: string }> =>
    new Promise((resolve) => {
      const program = join(import.meta.dirname, 'main.ts')
      const child = spawn(process.execPath, [program, 'status', '--run-dir', dir, '-o', format])
      let stdout = ''
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        stdout += text
      })
      child.on('close', (status) => resolve({ status, stdout }))
    })
  const [table, json, yaml] = await Promise.all([show('table'), show('json'), show('yaml')])
  server.close()
  expect([table.status, json.status, yaml.status]).toEqual([4, 4, 4])
  expect(table.stdout).toContain('COMPONENT  STATE     SINCE  MESSAGE\noverlay    degraded  ')
  expect(table.stdout).toContain('/x/a.yaml:3  Node/n2  bad')
  expect(JSON.parse(json.stdout)).toEqual(JSON.parse(body))
  expect(yaml.stdout).toContain('ready: true\nhealthy: false\n')
})

test('agent on a kernel that lacks what it needs exits with 5 and names it in one sentence', (ctx) => {
  ctx.skip(process.geteuid?.() !== 0, 'trying what the kernel has takes root')
  const { status, stderr } = sinabro(
    ...['agent', '--source', `manifests:${dir}`, '--state-dir', `${dir}/state`],
    ...['--log-level', 'silent', '--without-features', 'tcx,redirect_peer'],
  )
  expect(status).toBe(5)
  expect(stderr).toMatch(
    /^sinabro: this kernel \(\S+\) lacks redirect_peer, which there is no other way for: use Linux 6\.1 or newer.*\n$/,
  )
  expect(existsSync(join(dir, 'state'))).toBe(false)
})

test('agent without a feature that there is no such thing as exits with 2 and lists them', () => {
  const { status, stderr } = sinabro('agent', '--source', 'manifests:/x', '--without-features', 'x')
  expect(status).toBe(2)
  expect(stderr).toContain('there is no x; there are redirect_peer, ')
})
