// The programs on UDP sockets: which backend each datagram goes to, in whose name answers come, and what a socket forgets.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Asker, addresses, BACKEND_PORT, SocketWorld } from './socket-world.ts'

const SLOW_MS = 300_000
/** Services of the same backends. */
const ONE = { id: 1, port: 53 } as const
const TWO = { id: 2, port: 54 } as const
/** bpf/lib/sockets.h */
const FURTHER_MAX = 32
const hosts = { 4: '10.96.0.10', 6: 'fd00:96::10' } as const

let world: SocketWorld
let pod: Asker

beforeAll(async () => {
  world = await SocketWorld.up()
  pod = await world.asker('pod')
}, SLOW_MS)
afterAll(() => world?.close())

const ways = [
  { way: 'IPv4', family: 4, socket: 4, prefix: '', id: 100 },
  { way: 'IPv6', family: 6, socket: 6, prefix: '', id: 200 },
  { way: 'IPv4 in IPv6', family: 4, socket: 6, prefix: '::ffff:', id: 300 },
] as const

describe.each(ways)('$way', ({ family, socket, prefix, id }) => {
  const { backends } = addresses[family]
  const host = hosts[family]
  const seen = `${prefix}${host}`

  const serve = ({ id: own, port }: { id: number; port: number }, by: readonly string[]) =>
    world.serve({ id: id + own, address: host, port, proto: 'udp', backends: by })
  /** The backend that answers, in the name of the service. */
  const ask = async ({ port }: typeof ONE | typeof TWO): Promise<string> => {
    const [address, from, said = ''] = (await pod.do(`ask 1 ${seen} ${port}`)).split(' ')
    expect([address, from]).toEqual([seen, `${port}`])
    return said
  }
  const others = (than: string) => backends.filter((one) => one !== than)
  const direct = (backend: string) => `${prefix}${backend} ${BACKEND_PORT}`

  beforeEach(async () => {
    serve(ONE, backends)
    serve(TWO, backends)
    await pod.do(`udp 1 ${socket}`)
  })

  test('each socket gets a backend of its own', async () => {
    const before = world.count('PASS_SERVICE')
    const said = new Set<string>()
    for (let i = 0; i < 40; i++) {
      await pod.do(`udp 1 ${socket}`)
      said.add(await ask(ONE))
    }
    expect([...said].sort()).toEqual([...backends].sort())
    expect(world.count('PASS_SERVICE') - before).toBe(40)
  })

  test('an unconnected socket stays with its backend, until that is none any more', async () => {
    const first = await ask(ONE)
    for (let i = 0; i < 10; i++) expect(await ask(ONE)).toBe(first)
    serve(ONE, others(first))
    const second = await ask(ONE)
    expect(second).not.toBe(first)
    serve(ONE, backends)
    for (let i = 0; i < 10; i++) expect(await ask(ONE)).toBe(second)
  })

  test('and likewise with that of a further service', async () => {
    await ask(ONE)
    const first = await ask(TWO)
    for (let i = 0; i < 10; i++) expect(await ask(TWO)).toBe(first)
    serve(TWO, others(first))
    const second = await ask(TWO)
    expect(second).not.toBe(first)
    serve(TWO, backends)
    for (let i = 0; i < 10; i++) expect(await ask(TWO)).toBe(second)
  })

  test('whatever other sockets ask, an answer under way comes from the service', async () => {
    await ask(ONE)
    await pod.do(`send 1 ${seen} ${TWO.port}`)
    for (let other = 2; other < 60; other++) {
      await pod.do(`udp ${other} ${socket}`)
      for (const { port } of [ONE, TWO]) await pod.do(`ask ${other} ${seen} ${port}`)
    }
    expect(await pod.do('hear 1')).toMatch(new RegExp(`^${seen} ${TWO.port} `))
  })

  test.each([
    ['remembers', FURTHER_MAX],
    ['forgets the first of', FURTHER_MAX + 1],
  ])('a socket %s %i further services', async (_what, count) => {
    const [one, two, three] = backends
    serve(ONE, [one])
    await ask(ONE)
    serve(TWO, [two])
    await pod.do(`send 1 ${seen} ${TWO.port}`)
    for (let at = 1; at < count; at++) {
      serve({ id: 10 + at, port: 1000 + at }, [three])
      await pod.do(`send 1 ${seen} ${1000 + at}`)
    }
    const name = count > FURTHER_MAX ? direct(two) : `${seen} ${TWO.port}`
    expect(await pod.do('hear 1')).toBe(`${name} ${two}`)
  })

  test('two services with one backend: its answers are of the one asked last', async () => {
    const [backend] = backends
    serve(ONE, [backend])
    serve(TWO, [backend])
    for (const service of [ONE, TWO, ONE, ONE, TWO]) expect(await ask(service)).toBe(backend)
  })

  test('an answer under way when the backend goes still comes from the service', async () => {
    const first = await ask(ONE)
    await pod.do(`send 1 ${seen} ${ONE.port}`)
    serve(ONE, others(first))
    await pod.do(`send 1 ${seen} ${ONE.port}`)
    const heard = [await pod.do('hear 1'), await pod.do('hear 1')]
    // In any order: two backends answer.
    const said = heard.map((line) => line.split(' '))
    for (const [address, port] of said) expect([address, port]).toEqual([seen, `${ONE.port}`])
    expect(said.map(([, , by]) => by)).toContain(first)
  })

  test('who is asked by its own name answers by its own name', async () => {
    const [backend] = backends
    serve(ONE, [backend])
    serve(TWO, [backend])
    for (const service of [ONE, TWO]) {
      expect(await ask(service)).toBe(backend)
      expect(await pod.do(`ask 1 ${direct(backend)}`)).toBe(`${direct(backend)} ${backend}`)
    }
    expect(await ask(ONE)).toBe(backend)
  })

  test('somebody who is no backend is heard by its own name', async () => {
    const [backend, another] = backends
    serve(ONE, [backend])
    await ask(ONE)
    expect(await pod.do(`ask 1 ${direct(another)}`)).toBe(`${direct(another)} ${another}`)
  })

  test('a connected socket: the peer and every answer are the service', async () => {
    expect(await pod.do(`connect 1 ${seen} ${ONE.port}`)).toBe(`${seen} ${ONE.port}`)
    const [address, port, first = ''] = (await pod.do('ask 1')).split(' ')
    expect([address, port]).toEqual([seen, `${ONE.port}`])
    expect(backends).toContain(first)
    // Nobody else is heard by it, so a datagram with an address goes there too.
    serve(ONE, others(first))
    expect(await ask(ONE)).toBe(first)
    expect(await pod.do('ask 1')).toBe(`${seen} ${ONE.port} ${first}`)
  })

  test('connected to one service after another, and then to nobody', async () => {
    const [backend, another] = backends
    serve(ONE, [backend])
    serve(TWO, [another])
    for (const [{ port }, said] of [
      [ONE, backend],
      [TWO, another],
      [ONE, backend],
    ] as const) {
      expect(await pod.do(`connect 1 ${seen} ${port}`)).toBe(`${seen} ${port}`)
      expect(await pod.do('ask 1')).toBe(`${seen} ${port} ${said}`)
    }
    expect(await pod.do(`connect 1 ${direct(backend)}`)).toBe(direct(backend))
    expect(await pod.do('ask 1')).toBe(`${direct(backend)} ${backend}`)
    // Of a socket that was connected by IPv6 the kernel goes on hearing that peer only.
    expect(await pod.do('disconnect 1')).toBe('ENOTCONN')
    expect(await ask(ONE)).toBe(backend)
    expect(await pod.do(`ask 1 ${direct(backend)}`)).toBe(`${direct(backend)} ${backend}`)
  })

  test('a service that is another one by now is not the one that was asked', async () => {
    const [backend, another] = backends
    serve(ONE, [backend])
    expect(await ask(ONE)).toBe(backend)
    const successor = { id: id + 9, address: host, port: ONE.port, proto: 'udp' } as const
    world.serve({ ...successor, backends: [another] })
    expect(await ask(ONE)).toBe(another)
  })

  test('a socket that is bound to an address', async () => {
    const [, , third] = backends
    await pod.do(`bind 1 ${prefix}${third} 0`)
    expect(backends).toContain(await ask(ONE))
  })
})
