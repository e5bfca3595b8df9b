// Bad environments and configurations given to the real executable: each gets its code, says what is wrong, and asks the agent nothing.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { executable, execute, Place } from '../testing/executable.ts'
import { json, standIn } from '../testing/stand-in.ts'

const versions = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']

test('no CNI_COMMAND: says what it is on stderr and exits with 0', async () => {
  for (const command of [undefined, '']) {
    const outcome = await execute({ env: { CNI_COMMAND: command } })
    expect(outcome).toMatchObject({ exitCode: 0, stdout: '' })
    expect(outcome.stderr).toContain(versions.join(', '))
  }
})

test.each([
  ['{"cniVersion":"0.4.0"}', '0.4.0'],
  ['{"cniVersion":"9.9.9"}', '1.1.0'],
  ['', '1.1.0'],
  ['{', '1.1.0'],
])('VERSION with %j on stdin lists our versions in that of %s', async (stdin, cniVersion) => {
  const outcome = await execute({ env: { CNI_COMMAND: 'VERSION' }, stdin })
  expect(outcome).toMatchObject({ exitCode: 0, stderr: '' })
  expect(JSON.parse(outcome.stdout)).toEqual({ cniVersion, supportedVersions: versions })
})

const env: readonly (readonly [string, Record<string, string | undefined>, string])[] = [
  ['no container id', { CNI_CONTAINERID: undefined }, 'CNI_CONTAINERID'],
  ['an empty container id', { CNI_CONTAINERID: '' }, 'CNI_CONTAINERID'],
  ['a container id that leads elsewhere', { CNI_CONTAINERID: '../../etc' }, 'CNI_CONTAINERID'],
  ['a container id of dots', { CNI_CONTAINERID: '..' }, 'CNI_CONTAINERID'],
  ['a container id with a slash', { CNI_CONTAINERID: 'a/b' }, 'CNI_CONTAINERID'],
  ['a container id with a space', { CNI_CONTAINERID: 'a b' }, 'CNI_CONTAINERID'],
  ['a container id with a line end', { CNI_CONTAINERID: 'ab\n' }, 'CNI_CONTAINERID'],
  ['a container id that is too long', { CNI_CONTAINERID: 'a'.repeat(129) }, '129 characters'],
  ['no interface name', { CNI_IFNAME: undefined }, 'CNI_IFNAME'],
  ['an interface name that is too long', { CNI_IFNAME: 'a'.repeat(16) }, '16 characters'],
  ['an interface name of one dot', { CNI_IFNAME: '.' }, 'CNI_IFNAME'],
  ['an interface name of two dots', { CNI_IFNAME: '..' }, 'CNI_IFNAME'],
  ['an interface name with a slash', { CNI_IFNAME: 'a/b' }, 'CNI_IFNAME'],
  ['an interface name with a colon', { CNI_IFNAME: 'eth0:1' }, 'CNI_IFNAME'],
  ['an interface name with a space', { CNI_IFNAME: 'eth 0' }, 'CNI_IFNAME'],
  ['an interface name with a tab', { CNI_IFNAME: 'eth\t0' }, 'CNI_IFNAME'],
  ['an interface name that is not ASCII', { CNI_IFNAME: 'ethö' }, 'CNI_IFNAME'],
  ['no network namespace', { CNI_NETNS: undefined }, 'CNI_NETNS'],
  ['a relative namespace', { CNI_NETNS: 'netns/x' }, 'CNI_NETNS'],
  ['a namespace path longer than any', { CNI_NETNS: `/${'x'.repeat(5000)}` }, 'CNI_NETNS'],
  ['an unknown command', { CNI_COMMAND: 'FROB' }, 'FROB'],
  ['a command in small letters', { CNI_COMMAND: 'add' }, 'add'],
  ['a command from the prototype', { CNI_COMMAND: 'toString' }, 'toString'],
]
test.each(env)('ADD with %s is refused with 4', async (_, faulty, word) => {
  const place = new Place()
  const agent = await standIn(place, json(200, {}))
  const outcome = await place.call('ADD', {
    env: faulty,
    stdin: place.config({ cniVersion: '0.3.1' }),
  })
  expect(outcome).toMatchObject({ exitCode: 1, stderr: '' })
  const cniVersion = 'CNI_COMMAND' in faulty ? '1.1.0' : '0.3.1'
  const error = JSON.parse(outcome.stdout)
  expect(error).toMatchObject({ cniVersion, code: 4 })
  expect(error.msg).toContain(word)
  expect(agent.received).toEqual([])
})

test('every faulty variable is named at once', async () => {
  const faulty = { CNI_CONTAINERID: '-', CNI_NETNS: undefined, CNI_IFNAME: ':' }
  const { msg } = JSON.parse((await new Place().call('ADD', { env: faulty })).stdout)
  expect(msg).toMatch(/CNI_CONTAINERID.*CNI_NETNS.*CNI_IFNAME/)
})

test('a variable that is not UTF-8 is refused with 4', async () => {
  const place = new Place()
  const through = ['sh', '-c', `CNI_ARGS=$(printf 'a\\377') exec "$0"`] as const
  expect(JSON.parse((await place.call('ADD', { through })).stdout)).toMatchObject({ code: 4 })
})

test.each([
  ['nothing', '', 6],
  ['white space', ' \n', 6],
  ['no JSON', '{"cniVersion":', 6],
  ['two values', '{}{}', 6],
  ['a list', [], 6],
  ['null', 'null', 6],
  ['a text', '"config"', 6],
  ['what is not UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 6],
  ['10 MB', `{"cniVersion":"1.0.0","x":"${'x'.repeat(10_000_000)}"}`, 6],
  ['a deep nest', '['.repeat(500_000), 6],
  ['a deep nest of objects', '{"a":'.repeat(200_000), 6],
  ['a nest that is just too deep', nest(64), 6],
  ['a nest that the engine can read but not write', nest(6000), 6],
] as const)('%s on stdin is refused with %i', async (_, stdin, code) => {
  const place = new Place()
  const outcome = await place.call('ADD', { stdin })
  expect(outcome).toMatchObject({ exitCode: 1, stderr: '' })
  expect(JSON.parse(outcome.stdout)).toMatchObject({ cniVersion: '1.1.0', code })
})

test.each([
  ['no version', { cniVersion: undefined }, 1, '0.1.0'],
  ['an unknown version', { cniVersion: '9.9.9' }, 1, '9.9.9'],
  ['an old version', { cniVersion: '0.2.0' }, 1, '0.2.0'],
  ['a version that is no text', { cniVersion: 1 }, 1, 'number'],
  ['no name', { name: undefined }, 7, 'name'],
  ['a name that leads elsewhere', { name: '../x' }, 7, 'name'],
  ['a name that is too long', { name: 'x'.repeat(129) }, 7, 'name'],
  ['a name that is no text', { name: {} }, 7, 'name'],
  ['a type that is no text', { type: 7 }, 7, 'type'],
  ['a relative socket', { socket: 'agent.sock' }, 7, 'socket'],
  ['a socket with a NUL', { socket: '/a\0b' }, 7, 'socket'],
  ['a socket that is no text', { socket: ['/a'] }, 7, 'socket'],
  ['half a character in a path', { socket: '/\ud800' }, 7, 'socket'],
  ['a socket longer than its address', { socket: `/${'a'.repeat(200)}` }, 5, 'ENAMETOOLONG'],
  ['a relative state folder', { stateDir: 'x' }, 7, 'stateDir'],
  ['a negative wait', { connectWaitMs: -1 }, 7, 'connectWaitMs'],
  ['a wait that is no number', { connectWaitMs: '10s' }, 7, 'connectWaitMs'],
  ['a wait beyond the call', { connectWaitMs: 60_000 }, 7, 'connectWaitMs'],
  ['a prevResult that is a list', { prevResult: [] }, 7, 'prevResult'],
  ['interfaces that are no list', { prevResult: { interfaces: {} } }, 7, 'prevResult.interfaces'],
  [
    'an interface without name',
    { prevResult: { interfaces: [{}] } },
    7,
    'prevResult.interfaces[0].name',
  ],
  ['an address without text', { prevResult: { ips: [{}] } }, 7, 'prevResult.ips[0].address'],
  [
    'an index to nothing',
    { prevResult: { ips: [{ address: '10.0.0.1/8', interface: 0 }] } },
    7,
    '0 interfaces',
  ],
  [
    'a route without dst',
    { prevResult: { routes: [{ gw: '10.0.0.1' }] } },
    7,
    'prevResult.routes[0].dst',
  ],
  ['dns that is no object', { prevResult: { dns: 'x' } }, 7, 'prevResult.dns'],
])('ADD with %s is refused', async (_, members, code, word) => {
  const place = new Place()
  const outcome = await place.call('ADD', { stdin: place.config(members) })
  expect(outcome).toMatchObject({ exitCode: 1, stderr: '' })
  const error = JSON.parse(outcome.stdout)
  expect(error.code).toBe(code)
  expect(`${error.msg} ${error.details}`).toContain(word)
})

test('CHECK needs prevResult (7) and a configuration of 0.4.0 or later (1)', async () => {
  const place = new Place()
  expect(JSON.parse((await place.call('CHECK')).stdout)).toMatchObject({ code: 7 })
  const stdin = place.config({ cniVersion: '0.3.1', prevResult: {} })
  expect(JSON.parse((await place.call('CHECK', { stdin })).stdout)).toMatchObject({
    cniVersion: '0.3.1',
    code: 1,
  })
})

test.each(['ADD', 'CHECK'])(
  "%s refuses the plug-in's own namespace and one that is gone: 8",
  async (verb) => {
    const place = new Place()
    const stdin = place.config({ prevResult: {} })
    for (const CNI_NETNS of ['/proc/self/ns/net', `${place.folder}/gone`]) {
      const outcome = await place.call(verb, { env: { CNI_NETNS }, stdin })
      expect(JSON.parse(outcome.stdout)).toMatchObject({ code: 8 })
    }
  },
)

test('DEL goes through with a namespace that is gone, none, or our own', async () => {
  const place = new Place()
  const agent = await standIn(place, json(200, {}))
  for (const CNI_NETNS of [undefined, '', `${place.folder}/gone`, '/proc/self/ns/net']) {
    expect(await place.call('DEL', { env: { CNI_NETNS } })).toMatchObject({
      exitCode: 0,
      stdout: '',
    })
  }
  expect(agent.received.map(({ body }) => body.netns)).toEqual([
    '',
    '',
    `${place.folder}/gone`,
    '/proc/self/ns/net',
  ])
})

test('DEL does not mind a prevResult that ADD would refuse, and does not send it', async () => {
  const place = new Place()
  const agent = await standIn(place, json(200, {}))
  const stdin = place.config({ prevResult: 'nonsense' })
  expect(await place.call('DEL', { stdin })).toMatchObject({ exitCode: 0, stdout: '' })
  expect(agent.received[0]?.body.config).toEqual(place.config())
})

test('a nest as deep as allowed is passed on whole', async () => {
  const place = new Place()
  const agent = await standIn(place, json(200, {}))
  const stdin = place.config({ x: JSON.parse('['.repeat(63) + ']'.repeat(63)) })
  expect(await place.call('DEL', { stdin })).toMatchObject({ exitCode: 0 })
  expect(agent.received[0]?.body.config).toEqual(stdin)
})

test('a caller with a small stack gets an error, not a crash', async () => {
  const place = new Place()
  const through = ['sh', '-c', 'ulimit -s 256; exec "$0"'] as const
  const outcome = await place.call('ADD', { through, stdin: '['.repeat(900_000) })
  expect(JSON.parse(outcome.stdout)).toMatchObject({ code: 6 })
})

test('a full stdout is an exit code, not a crash', async () => {
  const through = ['sh', '-c', 'exec "$0" > /dev/full'] as const
  const outcome = await execute({ env: { CNI_COMMAND: 'VERSION' }, through })
  expect(outcome).toMatchObject({ exitCode: 1, signal: null })
})

test('the executable is one static file', () => {
  // An ELF file with an interpreter names it: "ld-linux" or "ld-musl".
  expect(readFileSync(executable).includes('/ld-')).toBe(false)
})

function nest(levels: number): string {
  return `{"cniVersion":"1.0.0","x":${'['.repeat(levels)}${']'.repeat(levels)}}`
}
