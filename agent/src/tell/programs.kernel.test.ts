// What hangs where on real devices: ours of this agent, ours of an earlier one, and other people's.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { probeTcx, TcAttachment } from '@sinabro/libbpf-ts'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { pinPaths } from '../datapath/load.ts'
import { requestFor, Stage } from '../pods/testing/stage.ts'
import { describePrograms } from './programs.ts'
import { readPinnedLinks } from './routes.ts'

let stage: Stage
let stateDir: string

beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'sinabro-programs-'))
})
afterEach(() => {
  stage.close()
  rmSync(stateDir, { recursive: true })
})

const modes = probeTcx() ? (['tcx', 'clsact'] as const) : (['clsact'] as const)

test.each(modes)('describePrograms() with %s', async (attach) => {
  stage = new Stage({ attach, podDevice: 'veth' })
  const agent = await stage.start({ stateDir, isIdle: true })
  const { netns, path } = stage.namespace()
  const allocation = await agent.ipam.allocate(requestFor('web', path))
  await agent.pods.add(allocation, netns, new AbortController().signal)
  const { hostDevice: device } = allocation
  const look = async (programs = agent.datapath.programs) => {
    const ownLinks = readPinnedLinks(pinPaths(stage.bpfDir).links)
    return await describePrograms({
      netlink: stage.netlink,
      netns: stage.node,
      features: stage.features,
      mode: 'bpf',
      programs,
      uplinks: [],
      ownLinks,
    })
  }

  const { programs, attached } = await look()
  expect(programs.map(({ name }) => name)).toContain('sb_from_pod')
  for (const one of programs) expect(one.verifiedInstructions, one.name).toBeGreaterThan(10)
  const of = expect.stringMatching(/^pod\/\d+\/\d+\/.*web/)
  const common = { device, of, way: attach, state: 'current' }
  expect(attached).toMatchObject([
    { ...common, direction: 'ingress', program: 'sb_from_pod' },
    { ...common, direction: 'egress', program: 'sb_to_pod' },
  ])

  const link = await stage.netlink.links.get({ name: device })
  const [theirs] = agent.datapath.programs
  if (link === undefined || theirs === undefined) throw new Error('no device')
  const foreign = { ifindex: link.index, direction: 'ingress', name: 'theirs' } as const
  await TcAttachment.attach({
    ...foreign,
    program: theirs,
    mode: 'clsact',
    priority: 7,
    handle: 7,
    pinPath: join(stage.bpfDir, 'none'),
    netlink: stage.netlink,
    netns: stage.node,
  })
  // To an agent that loaded none of these.
  const seen = (await look([])).attached
  const states = seen.filter(({ direction }) => direction === 'ingress').map(({ state }) => state)
  expect(states).toEqual(attach === 'tcx' ? ['earlier', 'foreign'] : ['foreign', 'earlier'])
  await agent.stop()
})
