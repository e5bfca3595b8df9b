// `npm run bench`: every performance claim, ours and the peer taking turns in one run. --only NAME, --runs N, --json FILE.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Lab, LabError } from '../lab/index.ts'
import { agentMemory, agentStart } from './agent.ts'
import { type Bench, LAB_NAME } from './bench.ts'
import { cniAdd } from './cni-add.ts'
import { cniStart } from './cni-start.ts'
import { flowSweep } from './flow-sweep.ts'
import { maglev } from './maglev.ts'
import { masqueradeCost } from './masquerade-cost.ts'
import { masqueradePool } from './masquerade-pool.ts'
import { masqueradeRate } from './masquerade-rate.ts'
import { netlink, removeNamespaces } from './netlink.ts'
import { OptionError, parseOptions } from './options.ts'
import { packetCost } from './packet-cost.ts'
import { podToPod } from './pod-to-pod.ts'
import { type BenchRow, formatRows } from './row.ts'
import { serviceCost } from './service-cost.ts'
import { serviceFirstPacket } from './service-first-packet.ts'
import { serviceRate } from './service-rate.ts'
import { serviceMemory, serviceSync } from './service-sync.ts'

const benches: readonly Bench[] = [
  cniStart,
  cniAdd,
  packetCost,
  masqueradeCost,
  podToPod,
  masqueradeRate,
  masqueradePool,
  flowSweep,
  serviceCost,
  serviceFirstPacket,
  serviceRate,
  serviceSync,
  serviceMemory,
  maglev,
  netlink,
  agentMemory,
  agentStart,
]

async function main(): Promise<number> {
  const names = benches.map(({ name }) => name)
  const { only, runs, json } = parseOptions(process.argv.slice(2), names)
  const dir = mkdtempSync(join(tmpdir(), 'sinabro-bench-'))
  const stop = (signal: NodeJS.Signals) => {
    const status = signal === 'SIGINT' ? 130 : 143
    const leave = () => {
      rmSync(dir, { recursive: true, force: true })
      process.exit(status)
    }
    downAll().then(leave, leave)
  }
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  const rows: BenchRow[] = []
  let failed = 0
  try {
    for (const bench of benches.filter(({ name }) => only.length === 0 || only.includes(name))) {
      console.log(`\n${bench.name}`)
      try {
        const found = await bench.run({ runs, dir, say: (text) => console.log(`  ${text}`) })
        console.log(formatRows(found))
        rows.push(...found)
      } catch (error) {
        failed++
        console.error(error instanceof LabError ? `  FAILED: ${error.message}` : error)
      }
    }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(rows, null, 2)}\n`)
  const outcome = failed === 0 ? 'all benches ran' : `${failed} FAILED`
  console.log(`\n${outcome}, ${rows.length} rows${json === undefined ? '' : ` in ${json}`}`)
  return failed === 0 ? 0 : 1
}

/** What an interrupted bench left up. */
async function downAll(): Promise<void> {
  const ours = Lab.names().filter((name) => name.startsWith(`${LAB_NAME}-`))
  await Promise.allSettled([
    ...ours.map((name) => Lab.down(name)),
    removeNamespaces((pid) => pid === process.pid),
  ])
}

try {
  process.exitCode = await main()
} catch (error) {
  const isKnown = error instanceof OptionError || error instanceof LabError
  console.error(isKnown ? `bench: ${error.message}` : error)
  process.exitCode = error instanceof OptionError ? 2 : 1
}
