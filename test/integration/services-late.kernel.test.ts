// Services are taken over on nodes that live: sockets that are older than the programs, and nodes where nobody has taken over yet.
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Conversations } from '../lab/conversation.ts'
import type { Lab, Pod } from '../lab/index.ts'
import {
  AGENT,
  addServers,
  clusterIPs,
  dial,
  ECHO_PORT,
  endpointOf,
  FAMILIES,
  raiseWithServices,
  SILENCE_SEC,
  untilAnsweredBy,
  WEB_PORT,
  writeService,
} from './service-stage.ts'

const SERVICE = 10
const WITHOUT = { args: ['--services', 'none'] }

let lab: Lab
let client: Pod
let server: Pod

beforeAll(async () => {
  lab = await raiseWithServices('late', { agent: WITHOUT })
  ;[client, server] = (await addServers(lab, 1, 'client', 'server')) as [Pod, Pod]
  writeService(lab, SERVICE, [endpointOf(server)])
})

afterAll(() => lab?.down())

async function restart(number: number, options: typeof WITHOUT | typeof AGENT): Promise<void> {
  const { agent } = lab.node(number)
  await agent.kill('SIGTERM')
  agent.start(options)
  await agent.waitReady()
}

/** A socket connected to a service's address; `ask` is whether it is answered within some tries. */
function heldDatagrams(from: Pod, address: string) {
  const script = `exec 3<>"/dev/udp/$0/$1" && echo open
    while read -r _; do
      answer=no
      for _ in {1..10}; do
        printf x >&3 && read -r -t 1 -n 1 -u 3 && answer=yes && break
      done 2>/dev/null
      echo "$answer"
    done`
  const child = from.machine.spawn(['bash', '-c', script, address, String(ECHO_PORT)], {
    ...from.inside,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const { stdin, stdout } = child
  if (stdin === null || stdout === null) throw new Error('unreachable')
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]()
  const next = async (): Promise<string> => String((await lines.next()).value)
  return {
    opened: next,
    ask: () => {
      stdin.write('\n')
      return next()
    },
    [Symbol.dispose]: () => void stdin.end(),
  }
}

test('sockets from before are answered, and connections to pods go on', async () => {
  using held4 = heldDatagrams(client, clusterIPs(SERVICE)[4])
  using held6 = heldDatagrams(client, clusterIPs(SERVICE)[6])
  for (const held of [held4, held6]) expect(await held.opened()).toBe('open')
  using direct = new Conversations(client, 'tcp', server.address(6))
  const seen = await direct.open(3)
  await restart(1, AGENT)
  for (const family of FAMILIES) {
    await untilAnsweredBy(client, clusterIPs(SERVICE)[family], ['server'])
  }
  for (const held of [held4, held6]) expect(await held.ask()).toBe('yes')
  expect(await direct.ask()).toEqual(seen)
})

test('programs at one node’s sockets never see those of another', async () => {
  const other = await lab.node(2).addPod('other')
  for (const family of FAMILIES) {
    expect(await dial(other, clusterIPs(SERVICE)[family], WEB_PORT, SILENCE_SEC)).not.toBe(
      'connected',
    )
  }
  await restart(2, AGENT)
  for (const family of FAMILIES) {
    await untilAnsweredBy(other, clusterIPs(SERVICE)[family], ['server'])
  }
})

test('given back, services are nobody’s again and nothing is left attached', async () => {
  await restart(1, WITHOUT)
  for (const family of FAMILIES) {
    expect(await dial(client, clusterIPs(SERVICE)[family], WEB_PORT, SILENCE_SEC)).not.toBe(
      'connected',
    )
  }
  const { stdout } = await lab.node(1).exec(['ls', '-R', '/sys/fs/bpf/sinabro'])
  expect(stdout).not.toMatch(/connect[46]|sendmsg[46]/)
})
