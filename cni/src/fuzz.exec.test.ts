// Random environments, configurations and answers: the real executable always ends by itself, with nothing or one CNI error on stdout.
import { chmodSync } from 'node:fs'
import { expect, test } from 'vitest'
import { execute, type Outcome, Place } from '../testing/executable.ts'
import { raw, standIn } from '../testing/stand-in.ts'
import { versions } from './verbs.ts'

const seed = Number(process.env.FUZZ_SEED ?? 1)
const rounds = Number(process.env.FUZZ_ROUNDS ?? 300)
const atOnce = 4

const texts = [
  ...[
    '',
    '.',
    '..',
    '/',
    ':',
    ' ',
    '\t',
    '\n',
    'a',
    'eth0',
    'a/b',
    'é',
    '\u{1f980}',
    '\u202e',
    '%s%n',
    '$(id)',
  ],
  ...[
    '-rf',
    '0',
    'null',
    '../../x',
    '/proc/self/ns/net',
    '/dev/null',
    '/dev/zero',
    '/proc/self/mem',
    'x'.repeat(300),
  ],
]
const values: readonly unknown[] = [
  ...texts,
  ...[null, true, 0, -1, 1.5, 1e308, -0, [], {}, [[]], [null], { a: { b: [] } }, '\ud800', '\0'],
  ...[
    [{ name: 'eth0' }],
    [{ address: '10.0.0.1/8', interface: 0 }],
    { ips: [{}] },
    'x'.repeat(70_000),
  ],
]
const members = [
  ...[
    'cniVersion',
    'name',
    'type',
    'socket',
    'stateDir',
    'connectWaitMs',
    'prevResult',
    'dns',
    'ipam',
  ],
  ...[
    'runtimeConfig',
    '__proto__',
    'constructor',
    'toString',
    'cni.dev/valid-attachments',
    'statusGraceSec',
  ],
]
/** A mutated path can lead anywhere, and the default ones lead to this machine's own agent: nobody may do no harm there. */
const unprivileged = process.getuid?.() === 0 ? { uid: 65534 } : {}
const commands = [
  'ADD',
  'DEL',
  'CHECK',
  'VERSION',
  'STATUS',
  'GC',
  '',
  'add',
  'hasOwnProperty',
  'ADD ',
]
const names = ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_ARGS', 'CNI_PATH']

test(`${rounds} random calls end as they should`, { timeout: 120_000 }, async () => {
  const place = new Place()
  chmodSync(place.folder, 0o711)
  const random = new Random(seed)
  for (let round = 0; round < rounds; round += atOnce) {
    const calls = Array.from({ length: atOnce }, () => {
      const env = randomEnvironment(random, place)
      const stdin = randomStdin(random, place)
      return { env, stdin, ...unprivileged }
    })
    const outcomes = await Promise.all(calls.map((call) => execute(call)))
    outcomes.forEach((outcome, at) => {
      expectSound(outcome, JSON.stringify({ seed, round: round + at, env: calls[at]?.env }))
    })
  }
})

test(`${rounds} random answers end as they should`, { timeout: 120_000 }, async () => {
  const place = new Place()
  const random = new Random(seed)
  const body = '{"interfaces":[{"name":"eth0"}],"ips":[{"address":"10.0.0.1/32","interface":0}]}'
  const good = `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  await standIn(place, (response, received) => raw(mutate(random, good))(response, received))
  for (let round = 0; round < rounds; round += atOnce) {
    const verbs = Array.from({ length: atOnce }, () => random.pick(['ADD', 'DEL']))
    const outcomes = await Promise.all(
      verbs.map((verb) => place.call(verb, { stdin: place.config({ connectWaitMs: 0 }) })),
    )
    for (const outcome of outcomes) expectSound(outcome, JSON.stringify({ seed, round }))
  }
})

function expectSound({ exitCode, signal, stdout }: Outcome, what: string): void {
  expect(signal, what).toBe(null)
  expect([0, 1], what).toContain(exitCode)
  if (exitCode === 0) return
  expect(stdout, what).toMatch(/^\{[^\n]*\}\n$/)
  const { cniVersion, code, msg } = JSON.parse(stdout)
  expect(versions, what).toContain(cniVersion)
  expect(Number.isInteger(code) && code > 0 && code !== 100, `${what} ${stdout}`).toBe(true)
  expect(typeof msg === 'string' && msg !== '', what).toBe(true)
}

function randomEnvironment(random: Random, place: Place): Record<string, string> {
  const env: Record<string, string> = {
    CNI_COMMAND: random.pick(commands),
    CNI_CONTAINERID: 'c0ffee',
    CNI_NETNS: place.netns,
    CNI_IFNAME: 'eth0',
  }
  for (let faults = random.below(3); faults > 0; faults--)
    env[random.pick(names)] = random.pick(texts)
  return env
}

function randomStdin(random: Random, place: Place): string | Uint8Array {
  const usable = place.config({ connectWaitMs: 0, prevResult: {}, stateDir: '/proc/sinabro/state' })
  const config = Object.entries(usable)
  for (let faults = random.below(3); faults > 0; faults--)
    config.push([random.pick(members), random.pick(values)])
  const text = `{${config.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')}}`
  return random.below(2) === 0 ? text : mutate(random, text)
}

/** Flips, cuts, doubles or drops bytes somewhere. */
function mutate(random: Random, text: string): Uint8Array {
  let bytes = Buffer.from(text)
  for (let times = 1 + random.below(3); times > 0; times--) {
    const at = random.below(bytes.length + 1)
    const end = Math.min(bytes.length, at + random.below(40))
    const ways = [
      () =>
        Buffer.concat([
          bytes.subarray(0, at),
          Buffer.of(random.below(256)),
          bytes.subarray(at + 1),
        ]),
      () => bytes.subarray(0, at),
      () => Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)]),
      () => Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]),
    ]
    bytes = Buffer.from(random.pick(ways)())
  }
  return bytes
}

/** The same numbers for the same seed (mulberry32). */
class Random {
  #state: number

  constructor(start: number) {
    this.#state = start
  }

  below(end: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % end
  }

  pick<T>(list: readonly T[]): T {
    const picked = list[this.below(list.length)]
    return picked as T
  }
}
