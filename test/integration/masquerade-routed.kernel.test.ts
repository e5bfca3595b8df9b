// Masquerading where pod addresses are routed (`--tunnel none`): other nodes and whoever calls a pod see the pod, the rest outside sees the node.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Pod } from '../lab/index.ts'
import { greet, ping, serve } from '../lab/talk.ts'
import {
  FAMILIES,
  type MasqueradeStage,
  MODES,
  nodePlace,
  raiseMasquerading,
} from './masquerade-stage.ts'
import { whatIsWrong } from './stage.ts'

describe.each(MODES)('%s', (mode) => {
  let stage: MasqueradeStage
  let pod: Pod
  let remote: Pod

  beforeAll(async () => {
    const args = ['--tunnel', 'none']
    stage = await raiseMasquerading(`routed-${mode}`, mode, { nodes: 2, args })
    const { lab } = stage
    pod = await lab.node(1).addPod('pod')
    remote = await lab.node(2).addPod('remote')
    await Promise.all([serve(pod), serve(remote), serve(nodePlace(lab, 2))])
    // The router knows the way to pods here; the far host behind it does not.
    for (const [at, range] of ['10.244.1.0/24', 'fd00:10:244:1::/64'].entries()) {
      const via = lab.node(1).plan.internalIps[at] ?? ''
      await lab.outside.exec(['ip', 'route', 'add', range, 'via', via])
    }
  })

  afterAll(async () => {
    for (const node of stage?.lab.nodes ?? []) expect(await whatIsWrong(node)).toEqual([])
    await stage?.lab.down()
  })

  test.each(FAMILIES)('IPv%i', async (family) => {
    const [own, node] = [pod.address(family), stage.nodeAddress(family)]
    const far = stage.far.address(family)
    const before = await stage.leaks()
    expect(await greet(pod, far)).toEqual({ server: 'far', client: node })
    expect(await ping(pod, far)).toBe(true)
    expect(await stage.leaks()).toBe(before)
    expect((await greet(pod, stage.nodeAddress(family, 2))).client).toBe(own)
    expect((await greet(pod, remote.address(family))).client).toBe(own)
    const router = { machine: stage.lab.outside, name: 'router' }
    for (const from of [router, remote, nodePlace(stage.lab, 2)]) {
      expect((await greet(from, own)).server, from.name).toBe('pod')
      expect(await ping(from, own), from.name).toBe(true)
    }
  })
})
