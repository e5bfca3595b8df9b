// What the real executable makes of the agent's answers, good and bad, and of an agent that is not there.
import { spawnSync } from 'node:child_process'
import { chmodSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { Place } from '../testing/executable.ts'
import { json, raw, silence, standIn } from '../testing/stand-in.ts'

const result = {
  interfaces: [
    { name: 'sb0123', mac: '02:00:00:00:00:01', mtu: 1450 },
    { name: 'eth0', mac: '02:00:00:00:00:02', mtu: 1450, sandbox: '/run/netns/x' },
  ],
  ips: [
    { address: '10.244.1.5/32', gateway: '169.254.1.1', interface: 1 },
    { address: 'fd00::5/128', gateway: 'fe80::1', interface: 1 },
  ],
  routes: [{ dst: '0.0.0.0/0', gw: '169.254.1.1', mtu: 1400 }],
}

test('ADD sends the whole request and prints the result in the version asked for', async () => {
  const place = new Place()
  const agent = await standIn(place, json(200, result))
  const outcome = await place.call('ADD', {
    stdin: place.config({ cniVersion: '0.4.0', extra: [1, 'ü'] }),
  })
  expect(outcome).toMatchObject({ exitCode: 0, stderr: '' })
  expect(JSON.parse(outcome.stdout)).toEqual({
    cniVersion: '0.4.0',
    interfaces: [
      { name: 'sb0123', mac: '02:00:00:00:00:01' },
      { name: 'eth0', mac: '02:00:00:00:00:02', sandbox: '/run/netns/x' },
    ],
    ips: [
      { version: '4', address: '10.244.1.5/32', gateway: '169.254.1.1', interface: 1 },
      { version: '6', address: 'fd00::5/128', gateway: 'fe80::1', interface: 1 },
    ],
    routes: [{ dst: '0.0.0.0/0', gw: '169.254.1.1' }],
    dns: {},
  })
  expect(agent.received).toEqual([
    {
      method: 'POST',
      path: '/v1/cni/add',
      body: {
        cniVersion: '0.4.0',
        containerId: 'c0ffee',
        netns: place.netns,
        ifname: 'eth0',
        args: 'K8S_POD_NAME=web-0',
        path: '/opt/cni/bin',
        config: place.config({ cniVersion: '0.4.0', extra: [1, 'ü'] }),
        sequence: {
          bootId: expect.stringMatching(/^[0-9a-f-]{36}$/),
          bootTimeUs: expect.any(Number),
        },
      },
    },
  ])
})

test('ADD puts its result behind prevResult and moves its indexes', async () => {
  const place = new Place()
  await standIn(place, json(200, result))
  const prevResult = {
    cniVersion: '1.0.0',
    interfaces: [{ name: 'lo' }],
    ips: [{ address: '127.0.0.1/8', interface: 0 }],
    dns: { nameservers: ['10.96.0.9'] },
  }
  const { stdout } = await place.call('ADD', { stdin: place.config({ prevResult }) })
  const printed = JSON.parse(stdout)
  expect(printed.interfaces.map((one: { name: string }) => one.name)).toEqual([
    'lo',
    'sb0123',
    'eth0',
  ])
  expect(printed.ips.map((one: { interface: number }) => one.interface)).toEqual([0, 2, 2])
  expect(printed.dns).toEqual({ nameservers: ['10.96.0.9'] })
})

test('DEL and CHECK print nothing when the agent is content', async () => {
  const place = new Place()
  const agent = await standIn(place, json(200, {}))
  const quiet = { exitCode: 0, signal: null, stdout: '', stderr: '' }
  expect(await place.call('DEL', { env: { CNI_NETNS: undefined } })).toEqual(quiet)
  expect(await place.call('CHECK', { stdin: place.config({ prevResult: result }) })).toEqual(quiet)
  expect(agent.received.map(({ path }) => path)).toEqual(['/v1/cni/del', '/v1/cni/check'])
})

test("an agent's error is printed with its code, in the caller's version", async () => {
  const place = new Place()
  await standIn(
    place,
    json(409, { cniVersion: '1.1.0', code: 103, msg: 'eth0 is taken', details: 'by x' }),
  )
  const outcome = await place.call('ADD', { stdin: place.config({ cniVersion: '0.3.1' }) })
  expect(outcome.exitCode).toBe(1)
  expect(JSON.parse(outcome.stdout)).toEqual({
    cniVersion: '0.3.1',
    code: 103,
    msg: 'eth0 is taken',
    details: 'by x',
  })
})

test('no DEL error says what containerd would take for success', async () => {
  const place = new Place()
  const body = {
    cniVersion: '1.0.0',
    code: 100,
    msg: 'link Not Found',
    details: 'open x: no such file or directory',
  }
  await standIn(place, json(500, body))
  const { exitCode, stdout } = await place.call('DEL')
  expect(exitCode).toBe(1)
  expect(stdout).not.toMatch(/not found|no such file or directory/i)
  expect(JSON.parse(stdout).code).toBe(100)
})

test('ADD waits for an agent that comes up late', async () => {
  const place = new Place()
  const call = place.call('ADD', { stdin: place.config({ connectWaitMs: 20_000 }) })
  // By the time that a second call has given up, the first one has met no agent many times.
  await place.call('ADD')
  await standIn(place, json(200, result))
  expect((await call).exitCode).toBe(0)
})

test('ADD is made again once after an agent ended in the middle of it', async () => {
  const place = new Place()
  let calls = 0
  const agent = await standIn(place, (response, received) => {
    if (++calls === 1) response.socket?.destroy()
    else json(200, result)(response, received)
  })
  const outcome = await place.call('ADD', { stdin: place.config({ connectWaitMs: 20_000 }) })
  expect(outcome.exitCode).toBe(0)
  expect(agent.received).toHaveLength(2)
  expect(agent.received[0]).toEqual(agent.received[1])
})

test('ADD and CHECK without a socket, or with one that nobody listens on, end with 11', async () => {
  const place = new Place()
  const stdin = place.config({ prevResult: result })
  expect(JSON.parse((await place.call('ADD')).stdout)).toMatchObject({ code: 11 })
  expect(JSON.parse((await place.call('CHECK', { stdin })).stdout)).toMatchObject({ code: 11 })
  leaveDeadSocket(place.socket)
  expect(JSON.parse((await place.call('ADD')).stdout)).toMatchObject({ code: 11 })
})

test('a socket that we may not open is an error at once: 5', async ({ skip }) => {
  skip(process.getuid?.() !== 0, 'needs root: it becomes somebody else')
  const place = new Place()
  chmodSync(place.folder, 0o711)
  await standIn(place, json(200, result))
  const stdin = place.config({ connectWaitMs: 20_000 })
  const outcome = await place.call('ADD', { uid: 65534, stdin })
  expect(JSON.parse(outcome.stdout)).toMatchObject({ code: 5 })
  expect(outcome.stdout).toContain('EACCES')
})

const head = 'HTTP/1.1 200 OK\r\nContent-Length: '
test.each([
  ['no HTTP at all', raw('hello\r\n\r\n'), 101],
  ['no status line', raw('\r\n\r\n'), 101],
  ['no content-length', raw('HTTP/1.1 200 OK\r\n\r\n{}'), 101],
  ['two content-lengths', raw(`${head}2\r\nContent-Length: 3\r\n\r\n{} `), 101],
  ['a content-length that is no number', raw(`${head}two\r\n\r\n{}`), 101],
  ['a content-length too small', raw(`${head}1\r\n\r\n{}`), 101],
  ['a content-length too large, then the end', raw(`${head}3\r\n\r\n{}`), 11],
  ['a truncated body', raw(`${head}400\r\n\r\n{"ips":[{"addr`), 11],
  ['a truncated header', raw('HTTP/1.1 200 OK\r\nConte'), 11],
  [
    'an endless header',
    raw(`HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(5000)}`, { isLeftOpen: true }),
    101,
  ],
  ['a huge announced body', raw(`${head}999999999\r\n\r\n`, { isLeftOpen: true }), 101],
  ['a huge body', json(200, { ips: [], padding: 'x'.repeat(2 << 20) }), 101],
  ['chunks', raw('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n'), 101],
  ['a body that is not JSON', raw(`${head}3\r\n\r\n{]}`), 101],
  ['a body that is not UTF-8', raw(Buffer.from(`${head}3\r\n\r\n"\xff"`, 'latin1')), 101],
  [
    'a body that is nested too deep',
    json(200, { x: JSON.parse('['.repeat(4000) + ']'.repeat(4000)) }),
    101,
  ],
  ['JSON that is not an object', raw(`${head}4\r\n\r\nnull`), 101],
  ['a result of the wrong shape', json(200, { ips: 'all' }), 101],
  [
    'a result that points to no interface',
    json(200, { ips: [{ address: '10.0.0.1/32', interface: 0 }] }),
    101,
  ],
  ['an error without a code', json(500, { msg: 'oops' }), 101],
  ['an error that is not JSON', raw('HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno'), 101],
  ['nothing, then the end', raw(''), 11],
] as const)('ADD answered with %s is an error', async (_, answer, code) => {
  const place = new Place()
  await standIn(place, answer)
  const outcome = await place.call('ADD')
  expect(outcome).toMatchObject({ exitCode: 1, stderr: '' })
  expect(JSON.parse(outcome.stdout)).toMatchObject({
    cniVersion: '1.0.0',
    code,
    msg: expect.any(String),
  })
})

test('an answer in many small pieces is read as one', async () => {
  const place = new Place()
  await standIn(place, (response) => {
    const text = `HTTP/1.1 200 OK\r\ncontent-length:  ${JSON.stringify(result).length} \r\n\r\n${JSON.stringify(result)}`
    const pieces = text.match(/.{1,7}/gs) ?? []
    const next = () => {
      const piece = pieces.shift()
      if (piece) response.socket?.write(piece, () => setImmediate(next))
    }
    next()
  })
  expect((await place.call('ADD')).exitCode).toBe(0)
})

test('an answer that comes before the request was read is heard', async () => {
  const place = new Place()
  const body = JSON.stringify({ cniVersion: '1.0.0', code: 7, msg: 'too large' })
  const server = createServer((connection) => {
    connection.end(`HTTP/1.1 413 No\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    connection.on('error', () => undefined).pause()
  })
  await new Promise<void>((resolve) => server.listen(place.socket, resolve))
  onTestFinished(() => void server.close())
  const outcome = await place.call('ADD', { stdin: place.config({ padding: 'x'.repeat(900_000) }) })
  expect(JSON.parse(outcome.stdout)).toMatchObject({ code: 7, msg: 'too large' })
})

// Each waits for the executable's own deadline: 30, 10 and 5 seconds, side by side.
test.concurrent('ADD ends by itself with 11 when the agent hangs', {
  timeout: 60_000,
}, async ({ onTestFinished }) => {
  const place = new Place(onTestFinished)
  await standIn(place, silence)
  expect(JSON.parse((await place.call('ADD')).stdout)).toMatchObject({ code: 11 })
})

test.concurrent('CHECK ends by itself with 11 when the answer stops half-way', async ({
  onTestFinished,
}) => {
  const place = new Place(onTestFinished)
  await standIn(place, raw(`${head}20\r\n\r\n{`, { isLeftOpen: true }))
  const outcome = await place.call('CHECK', { stdin: place.config({ prevResult: result }) })
  expect(JSON.parse(outcome.stdout)).toMatchObject({ code: 11 })
})

test.concurrent('a caller that leaves stdin open gets 5', async ({ onTestFinished }) => {
  const outcome = await new Place(onTestFinished).call('ADD', { isStdinLeftOpen: true })
  expect(JSON.parse(outcome.stdout)).toMatchObject({ code: 5 })
})

/** What an agent leaves that was killed. */
function leaveDeadSocket(path: string): void {
  rmSync(path, { force: true })
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  spawnSync(process.execPath, ['-e', script])
}
