// Two labs with the same addresses, agents and pods on one machine: neither knows of the other, also when one of them goes.
import { afterEach, expect, test } from 'vitest'
import type { Lab, Pod } from '../lab/index.ts'
import { greet, serve } from '../lab/talk.ts'
import { raise, whatIsWrong } from './stage.ts'

const labs: Lab[] = []

afterEach(async () => {
  await Promise.all(labs.map((lab) => lab.down()))
})

async function raiseWithPod(name: string, podName: string): Promise<{ lab: Lab; pod: Pod }> {
  const lab = await raise(name, { nodes: 2 })
  labs.push(lab)
  const pod = await lab.node(1).addPod(podName)
  await serve(pod)
  return { lab, pod }
}

test('pods of two labs have the same addresses and each is reached in its own', async () => {
  const [one, two] = await Promise.all([
    raiseWithPod('two-labs-a', 'a'),
    raiseWithPod('two-labs-b', 'b'),
  ])
  expect(one.pod.addresses).toEqual(two.pod.addresses)
  const ask = async ({ lab, pod }: typeof one, name: string): Promise<void> => {
    const asker = await lab.node(2).addPod(name)
    for (const address of pod.addresses) {
      expect(await greet(asker, address)).toMatchObject({ server: pod.name })
    }
  }
  await ask(one, 'asks-a')
  await ask(two, 'asks-b')
  await one.lab.down()
  await ask(two, 'asks-again')
  expect(await whatIsWrong(two.lab.node(1))).toEqual([])
})
