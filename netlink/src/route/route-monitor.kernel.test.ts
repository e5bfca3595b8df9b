// Notifications from a real kernel: what changes arrives, and what was lost is said.
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { describe, expect, onTestFinished, test } from 'vitest'
import { inside, skipReason, testNamespace, testNetlink, upVeth } from '../../testing/namespace.ts'
import { type RouteEvent, RouteMonitor, type RouteMonitorOptions } from '../index.ts'

/** A monitor that keeps its events and lets a test wait for one. */
function watch(options: Omit<RouteMonitorOptions, 'onEvent' | 'onOverrun'>) {
  const events: RouteEvent[] = []
  let overruns = 0
  let check: () => void = () => undefined
  let afterOverrun: () => void = () => undefined
  const monitor = RouteMonitor.open({
    ...options,
    onEvent(event) {
      events.push(event)
      check()
    },
    onOverrun() {
      overruns++
      events.length = 0
      afterOverrun()
    },
  })
  onTestFinished(() => monitor.close())
  const until = (condition: () => boolean) =>
    new Promise<void>((resolve) => {
      check = () => condition() && resolve()
      check()
    })
  return {
    monitor,
    events,
    overruns: () => overruns,
    seen: (wanted: (event: RouteEvent) => boolean) => until(() => events.some(wanted)),
    onOverrun: (run: () => Promise<void>) =>
      new Promise<void>((resolve) => {
        afterOverrun = () => resolve(run())
      }),
  }
}

describe.skipIf(skipReason)('RouteMonitor', () => {
  test('tells of every kind of object as it comes and goes', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    const { seen } = watch({
      netns,
      groups: ['links', 'addresses', 'routes', 'neighbours', 'traffic'],
    })
    const index = await upVeth(netlink)
    await netlink.addresses.replace({ index, address: '10.1.0.1', prefixLen: 24 })
    await netlink.routes.add({ dst: '10.244.1.0/24', via: '10.1.0.2', protocol: 91 })
    await netlink.neighbours.replace({ index, address: '10.1.0.2', mac: '02:00:00:00:00:02' })
    await netlink.qdiscs.replace({ index, kind: 'clsact' })
    await netlink.links.del(index)
    await seen(
      (event) => event.kind === 'link' && event.change === 'new' && event.link.name === 'veth0',
    )
    await seen((event) => event.kind === 'address' && event.address.address === '10.1.0.1')
    await seen((event) => event.kind === 'route' && event.route.protocol === 91)
    await seen((event) => event.kind === 'neighbour' && event.neighbour.state === 'permanent')
    await seen((event) => event.kind === 'qdisc' && event.qdisc.kind === 'clsact')
    await seen(
      (event) => event.kind === 'link' && event.change === 'del' && event.link.index === index,
    )
  })

  test('across namespaces, tells of what is done to the other end of a pair', async () => {
    const [netns, elsewhere] = [testNamespace(), testNamespace()]
    const netlink = testNetlink(netns)
    const inThere = testNetlink(elsewhere)
    const peer = { name: 'far', netns: elsewhere }
    await netlink.links.add({ kind: 'veth', name: 'near', peer })
    const near = await netlink.links.get({ name: 'near' })
    const { events, seen } = watch({ netns, groups: ['links'], isAcrossNamespaces: true })
    const here = watch({ netns, groups: ['links'] })
    const mac = '02:11:22:33:44:55'
    await inThere.links.set(near?.peerIndex ?? 0, { mac })
    await seen(
      (event) =>
        event.kind === 'link' && event.link.peerIndex === near?.index && event.link.mac === mac,
    )
    expect(events.length).toBeGreaterThan(0)
    expect(here.events).toEqual([])
  })

  test('hears only of the groups it joined, and of what others do', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    const index = await upVeth(netlink)
    const { seen, events } = watch({ netns, groups: ['addresses'] })
    inside(netns, 'ip', 'link', 'set', 'veth0', 'mtu', '1400')
    inside(netns, 'ip', 'addr', 'add', '10.1.0.1/24', 'dev', 'veth0')
    await seen((event) => event.kind === 'address' && event.address.index === index)
    expect(events.every((event) => event.kind === 'address')).toBe(true)
  })

  test('a port that leaves its bridge is not a device that is gone', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    const port = await upVeth(netlink)
    await netlink.links.add({ kind: 'bridge', name: 'br0' })
    const { seen, events } = watch({ netns, groups: ['links'] })
    const bridge = await netlink.links.get({ name: 'br0' })
    await netlink.links.set(port, { masterIndex: bridge?.index })
    await netlink.links.set(port, { masterIndex: null })
    await netlink.links.set(port, { mtu: 1234 })
    await seen((event) => event.kind === 'link' && event.link.mtu === 1234)
    expect(events.filter(({ change }) => change === 'del')).toEqual([])
  })

  test('an overrun is told once, and nothing that happens after it is lost', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    const index = await upVeth(netlink)
    const { onOverrun, overruns, seen } = watch({
      netns,
      groups: ['links'],
      receiveBufferBytes: 16 * 1024,
    })
    // At this very moment a user lists; a change right behind that list must come as an event.
    const changed = onOverrun(() => netlink.links.set(index, { mtu: 1400 }))
    for (let mtu = 1300; mtu < 1340; mtu++) await netlink.links.set(index, { mtu })
    await changed
    await seen((event) => event.kind === 'link' && event.link.mtu === 1400)
    expect(overruns()).toBe(1)
  })

  test('close() ends it: also from within an event, also twice', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    let count = 0
    const monitor = await new Promise<RouteMonitor>((resolve) => {
      const opened = RouteMonitor.open({
        netns,
        groups: ['links'],
        onEvent() {
          count++
          opened.close()
          resolve(opened)
        },
        onOverrun: () => undefined,
      })
      void upVeth(netlink)
    })
    monitor.close()
    const { seen } = watch({ netns, groups: ['links'] })
    await upVeth(netlink, 'later')
    await seen((event) => event.kind === 'link' && event.link.name === 'later')
    expect(count).toBe(1)
  })

  test('a worker may end with an open monitor', async () => {
    for (let round = 0; round < 3; round++) {
      const worker = new Worker(new URL('../../testing/monitor-worker.ts', import.meta.url))
      expect(await once(worker, 'message')).toEqual(['listening'])
      expect(await worker.terminate()).toBe(1)
    }
  })
})
