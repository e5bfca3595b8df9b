// The command line of `npm run test:faults`.
import { parseArgs } from 'node:util'

export class OptionError extends Error {}

export interface Options {
  readonly rounds: number
  readonly seed: number
  /** Rounds go to the nodes in turn: the same number is needed to see the same rounds again. */
  readonly nodes: number
}

const DEFAULT_ROUNDS = '100'
const DEFAULT_NODES = '2'

/** @throws OptionError */
export function parseOptions(args: readonly string[]): Options {
  const { rounds = DEFAULT_ROUNDS, seed, nodes = DEFAULT_NODES } = parse(args)
  return {
    rounds: wholeNumber('rounds', rounds, 1, 1_000_000),
    seed:
      seed === undefined
        ? Math.floor(Math.random() * 2 ** 31)
        : wholeNumber('seed', seed, 0, 2 ** 31 - 1),
    nodes: wholeNumber('nodes', nodes, 1, 16),
  }
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const
  try {
    return parseArgs({ args: [...args], options: { rounds: text, seed: text, nodes: text } }).values
  } catch (error) {
    throw new OptionError(error instanceof Error ? error.message : String(error))
  }
}

function wholeNumber(name: string, text: string, least: number, most: number): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
  if (value >= least && value <= most) return value
  throw new OptionError(`--${name} ${text}: expected a whole number from ${least} to ${most}`)
}
