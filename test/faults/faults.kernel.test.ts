// A short run of `npm run test:faults`: after every round the node holds exactly its pods. SINABRO_FAULT_ROUNDS makes it shorter yet.
import { expect, test } from 'vitest'
import { parseOptions } from './options.ts'
import { runRounds } from './rounds.ts'

const ROUNDS = Number(process.env.SINABRO_FAULT_ROUNDS ?? 20)
const MOST_NODES = 2
const ROUND_TIMEOUT_MS = 30_000

test(
  `after each of ${ROUNDS} kills at points and at random, nothing is doubled, lost or left over`,
  async () => {
    const nodes = String(Math.min(ROUNDS, MOST_NODES))
    const options = parseOptions(['--rounds', String(ROUNDS), '--nodes', nodes])
    const wrong: string[] = []
    const { passed } = await runRounds({
      ...options,
      name: `test-faults-${process.pid}`,
      onRound: (report) => {
        for (const line of report.wrong) {
          wrong.push(`round ${report.round}, ${report.fault}, --seed ${options.seed}: ${line}`)
        }
      },
    })
    expect(wrong).toEqual([])
    expect(passed).toBe(ROUNDS)
  },
  ROUNDS * ROUND_TIMEOUT_MS,
)
