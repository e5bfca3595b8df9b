// How the costs of programs become the cost of a packet.
import { expect, test } from 'vitest'
import { emptyByPath, sumByPath } from './packet-cost.ts'

const cost = (path: string, family: 4 | 6, program: string, ns: number) => ({
  ...{ path, family, program, ns },
  emptyNs: 20,
  lookupNs: 30,
})

test('the programs that a packet meets on a node are summed, families kept apart', () => {
  const costs = [
    cost('out', 4, 'sb_from_pod', 100),
    cost('out', 4, 'sb_to_overlay', 15),
    cost('out', 6, 'sb_from_pod', 110),
  ]
  expect(sumByPath(costs)).toEqual({ 'out, IPv4': 115, 'out, IPv6': 110 })
  expect(emptyByPath(costs)).toEqual({ 'out, IPv4': 20, 'out, IPv6': 20 })
})
