// `npm run test:faults -- --rounds N [--seed S]`: kills agent and executable at named points and at random, prints which points
// were passed, ends with `N passed, N failed`.
import { Lab, LabError } from '../lab/index.ts'
import { OptionError, parseOptions } from './options.ts'
import { formatCoverage, runRounds } from './rounds.ts'

const PROGRESS_EVERY = 50

/** The lab goes down under the rounds then, and what they say of that does not matter. */
let isInterrupted = false

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2))
  const { rounds, seed, nodes } = options
  const name = `faults-${process.pid}`
  const leave = (signal: NodeJS.Signals) => {
    isInterrupted = true
    const exit = () => process.exit(signal === 'SIGINT' ? 130 : 143)
    Lab.down(name).then(exit, exit)
  }
  process.once('SIGINT', leave)
  process.once('SIGTERM', leave)
  console.log(`${rounds} rounds on ${nodes} nodes, --seed ${seed}`)
  const { passed, failed, coverage } = await runRounds({
    ...options,
    name,
    onRound({ round, fault, wrong, done }) {
      if (isInterrupted) return
      if (wrong.length > 0) {
        console.log(
          `FAIL round ${round}, ${fault} (again: --seed ${seed} --rounds ${round + 1} --nodes ${nodes})`,
        )
        for (const line of wrong) console.log(`     ${line}`)
      }
      if (done % PROGRESS_EVERY === 0) console.log(`${done} rounds`)
    },
  })
  console.log(`\n${formatCoverage(coverage)}`)
  console.log(`${passed} passed, ${failed} failed`)
  return failed === 0 ? 0 : 1
}

try {
  process.exitCode = await main()
} catch (error) {
  const isKnown = error instanceof OptionError || error instanceof LabError
  if (!isInterrupted) console.error(isKnown ? `test:faults: ${error.message}` : error)
  process.exitCode = error instanceof OptionError ? 2 : 1
}
