// A backend that goes without a word: connections to it end by a reset, by its own address and as its service, on its node and on another.
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Lab, Pod } from '../lab/index.ts'
import type { Place } from '../lab/talk.ts'
import { HTTP_PORT } from '../lab/traffic.ts'
import {
  addServers,
  clusterIPs,
  endpointOf,
  FAMILIES,
  raiseWithServices,
  unhooked,
  untilAnsweredBy,
  WEB_PORT,
  writeService,
} from './service-stage.ts'

/** Says that it is connected; sends when it is told to, and says what becomes of the connection. */
const HOLD = `
import socket, sys
held = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
held.settimeout(15)
print('connected', flush=True)
sys.stdin.readline()
try:
    held.sendall(b'x')
    print('answered' if held.recv(1) else 'closed', flush=True)
except OSError as error:
    print(type(error).__name__, flush=True)
`

let lab: Lab
let client: Pod

beforeAll(async () => {
  lab = await raiseWithServices('gone')
  ;[client] = (await addServers(lab, 1, 'client')) as [Pod]
})
afterAll(() => lab?.down())

class Held {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>

  private constructor(child: ChildProcess) {
    if (child.stdout === null) throw new TypeError('a process without output')
    this.#child = child
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  }

  static async open(from: Place, address: string, port: number): Promise<Held> {
    const argv = ['python3', '-c', HOLD, address, String(port)]
    const child = from.machine.spawn(argv, { ...from.inside, stdio: ['pipe', 'pipe', 'inherit'] })
    const held = new Held(child)
    expect(await held.#next()).toBe('connected')
    return held
  }

  async use(): Promise<string> {
    this.#child.stdin?.write('\n')
    return await this.#next()
  }

  async #next(): Promise<string> {
    const { value, done } = await this.#lines.next()
    return done === true ? 'ended' : value
  }
}

test.each([
  ['its own node', 1],
  ['another node', 2],
] as const)('connections to a backend of %s are reset once it is gone', async (_where, number) => {
  const [server] = (await addServers(lab, number, `server${number}`)) as [Pod]
  writeService(lab, number, [endpointOf(server)])
  const held: Held[] = []
  for (const family of FAMILIES) {
    await untilAnsweredBy(client, clusterIPs(number)[family], [server.name])
    held.push(await Held.open(client, server.address(family), HTTP_PORT))
    for (const from of [client, unhooked(client)]) {
      held.push(await Held.open(from, clusterIPs(number)[family], WEB_PORT))
    }
  }
  await server.del()
  const reset = held.map(() => 'ConnectionResetError')
  expect(await Promise.all(held.map((one) => one.use()))).toEqual(reset)
})
