// Which of the kernel's events mean that something was taken from a pod, and which are births, deaths and noise.
import type { Link, RouteEvent } from '@sinabro/node-netlink'
import { beforeEach, expect, test } from 'vitest'
import { DriftOfPods } from './follow.ts'

let live: Set<string>
let busy: Set<string>
let drift: DriftOfPods

beforeEach(() => {
  live = new Set(['sbone'])
  busy = new Set()
  drift = new DriftOfPods({ isOurs: (d) => live.has(d), isBusy: (d) => busy.has(d) })
})

function link(change: 'new' | 'del', isUp: boolean, more: Partial<Link> = {}): RouteEvent {
  const one = { index: 5, name: 'sbone', alias: 'sinabro:pod/1/1/a/b/eth0', isUp, ...more }
  return { kind: 'link', change, link: one as Link }
}

const route = (index: number, protocol = 91) =>
  ({ kind: 'route', change: 'del', route: { index, protocol } }) as RouteEvent

test('a birth is no drift, whenever its events are read', () => {
  expect(drift.isDrift(link('new', false))).toBe(false)
  expect(drift.isDrift(link('new', true))).toBe(false)
  expect(drift.isDrift(link('new', true))).toBe(false)
})

test('a device that went down and came up again has lost its routes', () => {
  drift.know((link('new', true) as { link: Link }).link)
  expect(drift.isDrift(link('new', false))).toBe(false)
  expect(drift.isDrift(link('new', true))).toBe(true)
})

test('a device, route or filter that is taken away is drift', () => {
  drift.isDrift(link('new', true))
  expect(drift.isDrift(route(5))).toBe(true)
  expect(drift.isDrift({ kind: 'filter', change: 'del', filter: { index: 5 } } as RouteEvent)).toBe(
    true,
  )
  expect(drift.isDrift(link('del', true))).toBe(true)
})

test('what a verb of ours does is no drift, and neither is what remains of a dead pod', () => {
  drift.isDrift(link('new', true))
  busy.add('sbone')
  expect(drift.isDrift(route(5))).toBe(false)
  busy.clear()
  live.clear()
  expect(drift.isDrift(link('del', true))).toBe(false)
})

test('other devices and other people’s routes are nothing to us', () => {
  drift.isDrift(link('new', true))
  expect(drift.isDrift(route(9))).toBe(false)
  expect(drift.isDrift(route(5, 3))).toBe(false)
  expect(drift.isDrift(link('del', true, { index: 9, name: 'eth0', alias: 'uplink' }))).toBe(false)
})

test('a new MTU of the overlay is one for the pods too', () => {
  const overlay = (mtu: number) =>
    link('new', true, { index: 2, name: 'sb-vxlan', alias: 'sinabro:overlay', mtu })
  expect(drift.isDrift(overlay(1450))).toBe(false)
  expect(drift.isDrift(overlay(1450))).toBe(false)
  expect(drift.isDrift(overlay(1400))).toBe(true)
})
