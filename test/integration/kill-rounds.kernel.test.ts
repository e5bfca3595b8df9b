// The agent is killed at random moments while pods come and go; whatever it was doing, after a restart the node holds exactly
// its live pods. SINABRO_KILL_ROUNDS sets how often, SINABRO_SEED repeats a run.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CniFailure, type Lab, type LabNode, type Pod } from '../lab/index.ts'
import { ping } from '../lab/talk.ts'
import { raise, whatStaysWrong } from './stage.ts'

const NAME = 'kill-rounds'
const ROUNDS = Number(process.env.SINABRO_KILL_ROUNDS ?? 8)
const SEED = Number(process.env.SINABRO_SEED ?? Math.floor(Math.random() * 2 ** 31))
const LIVE_PODS = 3
const LONGEST_DELAY_MS = 120
/** About as long as an agent takes to be ready: half of the rounds kill the next one on its way there too. */
const LONGEST_START_MS = 1_000
const ROUND_TIMEOUT_MS = 30_000

let lab: Lab
let node: LabNode

beforeAll(async () => {
  lab = await raise(NAME, { nodes: 1 })
  node = lab.node(1)
})

afterAll(() => lab?.down())

/** mulberry32: the same seed gives the same moments. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

test(
  `after each of ${ROUNDS} kills the node holds exactly its pods (seed ${SEED})`,
  async () => {
    const random = randomFrom(SEED)
    const pods: Pod[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const doomed = pods.length >= LIVE_PODS ? pods.splice(0, 2) : []
      const work = [
        ...[0, 1].map((i) => node.addPod(`r${round}-${i}`).then((pod) => void pods.push(pod))),
        ...doomed.map((pod) => pod.remove()),
      ]
      const done = Promise.allSettled(work)
      await sleep(random() * LONGEST_DELAY_MS)
      await node.agent.kill('SIGKILL')
      if (random() < 0.5) {
        node.agent.start()
        await sleep(random() * LONGEST_START_MS)
        await node.agent.kill('SIGKILL')
      }
      node.agent.start()
      await node.agent.waitReady()
      for (const outcome of await done) {
        // An ADD that lost its agent may fail, and then the runtime has asked for a DEL; everything else succeeds.
        if (outcome.status === 'rejected' && !(outcome.reason instanceof CniFailure)) {
          throw outcome.reason
        }
      }
      const wrong = await whatStaysWrong(node)
      expect(wrong, `round ${round}`).toEqual([])
      for (const pod of pods) {
        const isReached = await ping({ machine: node.machine, name: 'node1' }, pod.address(6))
        expect(isReached, `round ${round}, pod ${pod.name}`).toBe(true)
      }
    }
  },
  ROUNDS * ROUND_TIMEOUT_MS,
)
