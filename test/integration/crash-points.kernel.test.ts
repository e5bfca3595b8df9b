// The agent ends itself at every named point of its work, once; the next agent finds the pieces and ends in the same state.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FaultNode } from '../faults/node.ts'
import { POINTS } from '../faults/points.ts'
import { Lab } from '../lab/index.ts'

const AGENT_POINTS = POINTS.filter(({ victim }) => victim === 'agent')
/** An ADD that is repeated waits ten seconds for the agent that it lost: meanwhile another node goes on. */
const NODES = 2
const POINT_TIMEOUT_MS = 60_000

let lab: Lab

beforeAll(async () => {
  lab = await Lab.up({ name: `test-crash-points-${process.pid}`, nodes: NODES })
})

afterAll(() => lab?.down())

test(
  `after a crash at each of ${AGENT_POINTS.length} points nothing is left that the next agent does not put right`,
  async () => {
    const points = [...AGENT_POINTS]
    const passed: string[] = []
    const wrong: string[] = []
    const take = async (node: FaultNode): Promise<void> => {
      await node.begin()
      for (let point = points.shift(); point !== undefined; point = points.shift()) {
        const found = await node.round({ kind: 'point', point })
        if (found.length === 0) passed.push(point.name)
        else await node.reset()
        for (const line of found) wrong.push(`${point.name}: ${line}`)
      }
    }
    const noExecutable = 'kill-at: no executable is killed here'
    await Promise.all(lab.nodes.map((node) => take(new FaultNode(node, noExecutable))))
    console.log(`${passed.length} of ${AGENT_POINTS.length} points passed: ${passed.join(' ')}`)
    expect(wrong).toEqual([])
    expect(passed.toSorted()).toEqual(AGENT_POINTS.map(({ name }) => name).toSorted())
  },
  AGENT_POINTS.length * POINT_TIMEOUT_MS,
)
