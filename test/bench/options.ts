// The command line of `npm run bench`.
import { parseArgs } from 'node:util'

export class OptionError extends Error {}

export interface Options {
  /** Empty: all. */
  readonly only: readonly string[]
  readonly runs: number
  readonly json: string | undefined
}

/** Fewer pairs say too little about a machine that others use too. */
export const LEAST_RUNS = 7

/** @throws OptionError */
export function parseOptions(args: readonly string[], benches: readonly string[]): Options {
  const { values } = parse(args)
  const only = values.only ?? []
  const unknown = only.find((name) => !benches.includes(name))
  if (unknown !== undefined) {
    throw new OptionError(`--only ${unknown}: expected one of ${benches.join(', ')}`)
  }
  const runs = Number(values.runs ?? LEAST_RUNS)
  if (!Number.isInteger(runs) || runs < LEAST_RUNS) {
    throw new OptionError(`--runs ${values.runs}: expected a whole number from ${LEAST_RUNS} on`)
  }
  return { only, runs, json: values.json }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        only: { type: 'string', multiple: true },
        runs: { type: 'string' },
        json: { type: 'string' },
      },
    })
  } catch (error) {
    throw new OptionError(error instanceof Error ? error.message : String(error))
  }
}
