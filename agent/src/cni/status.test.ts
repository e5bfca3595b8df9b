// When STATUS takes the node out of service, and when it must not.
import { codes } from '@sinabro/cni/wire'
import { expect, test } from 'vitest'
import { systemClock } from '../runtime/clock.ts'
import { Health } from '../runtime/health.ts'
import { judgeStatus } from './status.ts'

const config = { cniVersion: '1.1.0', name: 'sinabro', type: 'sinabro-cni' }
const full = [{ range: '10.244.1.0/24', capacity: 253, used: 253 }]
const roomy = [{ range: '10.244.1.0/24', capacity: 253, used: 252 }]

function health(): Health {
  const one = new Health(systemClock)
  one.ok('datapath')
  return one
}

test('STATUS is fine when the agent is ready, degraded or not, with room or without', () => {
  const degraded = health()
  degraded.degraded('datapath', new Error('broken'))
  for (const one of [health(), degraded]) {
    expect(() => judgeStatus(one.snapshot(), full, config)).not.toThrow()
    expect(() => judgeStatus(one.snapshot(), roomy, config)).not.toThrow()
  }
})

test('STATUS answers 50 while the agent starts, 51 when something that worked fails meanwhile', () => {
  const starting = health()
  starting.starting('overlay', 'no Node object yet')
  const judge = () => judgeStatus(starting.snapshot(), roomy, config)
  expect(judge).toThrow(
    expect.objectContaining({
      cniCode: codes.notAvailable,
      message: 'the agent is not ready: overlay: no Node object yet',
    }),
  )
  starting.degraded('datapath', new Error('broken'))
  expect(judge).toThrow(
    expect.objectContaining({
      cniCode: codes.limitedConnectivity,
      details: 'failing: datapath: broken',
    }),
  )
})

test('STATUS answers 50 for a full pool only where statusReportsFullPool is on', () => {
  const asking = { ...config, statusReportsFullPool: true }
  const snapshot = health().snapshot()
  expect(() => judgeStatus(snapshot, full, asking)).toThrow(
    expect.objectContaining({
      cniCode: codes.notAvailable,
      message: 'no address is left: all 253 of 10.244.1.0/24 are in use',
    }),
  )
  expect(() => judgeStatus(snapshot, roomy, asking)).not.toThrow()
  expect(() =>
    judgeStatus(snapshot, full, { ...config, statusReportsFullPool: false }),
  ).not.toThrow()
})

test('STATUS refuses a statusReportsFullPool that is neither true nor false', () => {
  const odd = { ...config, statusReportsFullPool: 'yes' } as unknown as typeof config
  expect(() => judgeStatus(health().snapshot(), roomy, odd)).toThrow(
    expect.objectContaining({ cniCode: codes.invalidConfig }),
  )
})
