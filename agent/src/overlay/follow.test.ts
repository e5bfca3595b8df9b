// Whose an event is: the overlay's, the underlay's, or a pod's, which this room does not care for.
import type { RouteEvent } from '@sinabro/node-netlink'
import { beforeEach, expect, test } from 'vitest'
import { OverlayEvents } from './follow.ts'

let events: OverlayEvents

beforeEach(() => {
  events = new OverlayEvents()
  events.know({ index: 2, name: 'eth0', isUp: true })
  events.know({ index: 3, name: 'sb-vxlan', alias: 'sinabro:overlay', isUp: true })
  events.know({
    index: 4,
    name: 'sbaaaaaaaaaaaaa',
    alias: 'sinabro:pod/1/1/a/b/eth0',
    isUp: true,
  })
})

const at = (kind: 'address' | 'route' | 'neighbour' | 'fdb' | 'filter', index?: number) => {
  const member = kind === 'fdb' ? 'entry' : kind
  return { kind, change: 'del', [member]: { index } } as unknown as RouteEvent
}
const route = (index: number | undefined, protocol: number) =>
  ({ kind: 'route', change: 'del', route: { index, protocol } }) as unknown as RouteEvent
const link = (index: number, name: string, alias?: string, isUp = true, change = 'new') =>
  ({ kind: 'link', change, link: { index, name, alias, isUp } }) as unknown as RouteEvent

test.each([
  ['a route on the overlay device', at('route', 3), 'row'],
  ['an address taken from it, and the routes that name it', at('address', 3), 'lost'],
  ['a neighbour on it', at('neighbour', 3), 'row'],
  ['its program', at('filter', 3), 'device'],
  ['the device itself', link(3, 'sb-vxlan', 'sinabro:overlay'), 'device'],
  ['the device going down', link(3, 'sb-vxlan', 'sinabro:overlay', false), 'lost'],
  ['the device removed', link(3, 'sb-vxlan', 'sinabro:overlay', true, 'del'), 'lost'],
  ['a device in its place', link(9, 'sb-vxlan'), 'lost'],
  ['a route of the node', at('route', 2), 'underlay'],
  ['a route of ours by an uplink', route(2, 91), 'row'],
  ['a route of ours by no device', route(undefined, 91), 'row'],
  ['a route of ours to a pod', route(4, 91), undefined],
  ['a forwarding entry of it', at('fdb', 3), 'row'],
  ['a forwarding entry of another device', at('fdb', 2), undefined],
  ['the device without a tunnel', link(7, 'sb0', 'sinabro:overlay'), 'lost'],
  ['a route over several devices', at('route', undefined), 'underlay'],
  ['an address of the node', at('address', 2), 'underlay'],
  ['another device', link(2, 'eth0'), 'underlay'],
  ['a neighbour of the node', at('neighbour', 2), undefined],
  ['a route to a pod', at('route', 4), undefined],
  ['a pod’s device', link(4, 'sbaaaaaaaaaaaaa', 'sinabro:pod/1/1/a/b/eth0'), undefined],
  ['a pod’s device before it is marked', link(5, 'sbbbbbbbbbbbbbb'), undefined],
])('%s', (_, event, whose) => expect(events.sort(event)).toBe(whose))
