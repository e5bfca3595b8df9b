// Which faults there are and in which order they come.
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { TREE } from '../lab/index.ts'
import { OptionError, parseOptions } from './options.ts'
import { planFaults } from './plan.ts'
import { POINTS } from './points.ts'
import { formatCoverage } from './rounds.ts'

const names = POINTS.map(({ name }) => name)

test('every crash point that the agent names is one of ours, once', () => {
  const files = globSync('agent/src/**/*.ts', { cwd: TREE }).filter((file) => !/test/.test(file))
  const named = files.flatMap((file) =>
    [...readFileSync(join(TREE, file), 'utf8').matchAll(/crashPoint\('([^']+)'\)/g)].map(
      ([, name = '']) => name,
    ),
  )
  expect(named.length).toBeGreaterThan(0)
  // Those of the taking over of an older layout are passed once in its life by a node; its own test ends an agent at each.
  const passed = named.filter((name) => !name.startsWith('migrate.'))
  for (const name of passed) expect(names).toContain(name)
  expect(new Set(names).size).toBe(names.length)
})

test('planFaults() gives the same faults for the same seed, and the first of a longer run', () => {
  expect(planFaults(300, 7)).toEqual(planFaults(300, 7))
  expect(planFaults(300, 7).slice(0, 20)).toEqual(planFaults(20, 7))
  expect(planFaults(20, 7)).not.toEqual(planFaults(20, 8))
})

test('planFaults() comes to every point before it comes to one again', () => {
  const points = planFaults(1_000, 3).flatMap((fault) =>
    fault.kind === 'point' ? [fault.point.name] : [],
  )
  expect(new Set(points.slice(0, POINTS.length)).size).toBe(POINTS.length)
  expect(points.length).toBeGreaterThan(400)
})

test('formatCoverage() names every point, also those that were not passed', () => {
  const [first = ''] = names
  const text = formatCoverage(new Map([[first, 3]]))
  expect(text).toMatch(new RegExp(`^${first} +3$`, 'm'))
  expect(text.split('\n')).toHaveLength(POINTS.length + 3)
  expect(text).toContain(`1 of ${POINTS.length} points passed`)
})

test('parseOptions() takes rounds, seed and nodes', () => {
  expect(parseOptions(['--rounds', '1000', '--seed', '5', '--nodes=3'])).toEqual({
    rounds: 1000,
    seed: 5,
    nodes: 3,
  })
  expect(parseOptions([])).toMatchObject({ rounds: 100, nodes: 2 })
})

test.each([
  [['--rounds', '0'], '--rounds 0: expected a whole number from 1 to 1000000'],
  [['--rounds', '1e3'], '--rounds 1e3: expected'],
  [['--seed', '-1'], "Option '--seed' argument is ambiguous"],
  [['--fast'], "Unknown option '--fast'"],
])('parseOptions() refuses %j', (args, message) => {
  expect(() => parseOptions(args)).toThrow(OptionError)
  expect(() => parseOptions(args)).toThrow(message)
})
