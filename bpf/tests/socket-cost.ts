// Cost of our program in a connect(), by the kernel's own clock around it: no test run does what it asks of a socket.
import { BpfLink, BpfObject, RunMeasuring } from '../src/index.ts'
import { testObject } from '../testing/index.ts'
import type { Cost } from './cost.ts'
import { SocketWorld } from './socket-world.ts'

const PORT = 80
/** Nobody has these: the kernel finds no route, which is after our program. */
const addresses = {
  4: { service: '10.96.0.10', backend: '10.244.9.9', other: '203.0.113.9' },
  6: { service: 'fd00:96::10', backend: 'fd00:9::9', other: '2001:db8:113::9' },
} as const

/** So many sockets connect, one after the other. */
export async function measureConnects(repeat: number): Promise<Cost[]> {
  const world = await SocketWorld.up()
  const empty = BpfObject.open(testObject('bench_sockets'))
  const links: BpfLink[] = []
  const costs: Cost[] = []
  try {
    await empty.load()
    using _measuring = RunMeasuring.start()
    const asker = await world.asker('pod')
    for (const family of [4, 6] as const) {
      const { service, backend, other } = addresses[family]
      world.serve({ id: family, address: service, port: PORT, proto: 'tcp', backends: [backend] })
      const ours = world.program(`connect${family}`)
      const program = empty.program(`bench_empty${family}`)
      const { path } = world.cgroup
      links.push(await BpfLink.createCgroup({ path, hook: `connect${family}`, program }))
      for (const [what, address] of [
        ['a service', service],
        ['somebody else', other],
      ] as const) {
        const before = [ours, program].map((one) => one.runStatistics())
        await asker.do(`connects ${family} ${address} ${PORT} ${repeat}`)
        const [ns = 0, emptyNs = 0] = [ours, program].map((one, i) => {
          const [{ runCount, runTimeNs }, past] = [one.runStatistics(), before[i]]
          const runs = Number(runCount - (past?.runCount ?? 0n))
          if (runs !== repeat) throw new Error(`${one.name} ran ${runs} times, not ${repeat}`)
          return Number(runTimeNs - (past?.runTimeNs ?? 0n)) / runs
        })
        const name = `sb_connect${family}`
        costs.push({
          path: `connect() to ${what}`,
          family,
          program: name,
          ns: ns - emptyNs,
          emptyNs,
        })
      }
    }
    return costs
  } finally {
    for (const link of links) link.close()
    empty.close()
    await world.close()
  }
}
