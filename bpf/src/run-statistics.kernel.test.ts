// Measuring of runs: exact counts while it is on, refused without privilege.
import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { encodeSkBuff } from '../testing/skb.ts'
import { testObject } from '../testing/test-object.ts'
import { BpfObject } from './object.ts'
import { RunMeasuring } from './run-statistics.ts'

test('every run is counted and timed while someone measures', async () => {
  using object = BpfObject.open(testObject('binding_basic'))
  await object.load()
  const program = object.program('basic_count')
  const run = (repeat: number) =>
    program.testRun({ data: new Uint8Array(64), ctx: encodeSkBuff({}), repeat })
  using measuring = RunMeasuring.start()
  // Two at once: the first to end does not end it for the other.
  RunMeasuring.start().close()
  const before = program.runStatistics()
  run(1000)
  const after = program.runStatistics()
  expect(after.runCount - before.runCount).toBe(1000n)
  expect(after.runTimeNs).toBeGreaterThan(before.runTimeNs)
  expect(after.recursionMisses).toBe(0n)
  measuring.close()
  measuring.close()
})

test('start() needs privilege', () => {
  const module = new URL('./run-statistics.ts', import.meta.url).href
  const script = `
    const { RunMeasuring } = await import('${module}')
    const { native } = await import('${new URL('./native.ts', import.meta.url).href}')
    native().possibleCpus()
    process.setuid(65534)
    try { RunMeasuring.start() } catch (error) { console.log(error.code) }`
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  })
  expect(child.stdout, child.stderr).toBe('EPERM\n')
})
