// What ADD, DEL and CHECK do with allocation and wiring when something goes wrong between the two, and who wins over whom.
import { type CniRequest, codes } from '@sinabro/cni/wire'
import { NetworkNamespace } from '@sinabro/node-netlink'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import {
  type Allocation,
  type AllocationRequest,
  type AttachmentKey,
  keyText,
} from '../ipam/allocation.ts'
import { computePod } from '../pods/compute.ts'
import { PodError } from '../pods/error.ts'
import type { PodRow } from '../pods/rows.ts'
import { silentLog } from '../runtime/log.ts'
import { CniError, toCniError } from './error.ts'
import { Verbs } from './verbs.ts'

const never = new AbortController().signal
const BOOT = 'this-boot'
/** Any namespace of the machine will do: nothing here touches it. The "node" is a descriptor that is never equal to it. */
const here = NetworkNamespace.current()
const elsewhere = { isSame: () => false } as unknown as NetworkNamespace

afterAll(() => here.close())

let records: Map<string, Allocation>
let wired: Set<string>
let failure: unknown
let diskFailure: unknown
let log: string[]
let verbs: Verbs

const ipam = {
  async begin(request: AllocationRequest) {
    const text = keyText(request.key)
    const stored = diskFailure === undefined ? Promise.resolve() : Promise.reject(diskFailure)
    const known = records.get(text)
    if (known !== undefined) return { allocation: known, stored }
    const allocation = {
      ...request,
      addresses: ['10.244.1.2'],
      endpointId: 1,
      incarnation: 1,
      hostDevice: 'sbaaaaaaaaaaaaa',
      createdAt: '',
    }
    if (diskFailure === undefined) records.set(text, allocation)
    return { allocation, stored }
  },
  async release(key: AttachmentKey) {
    log.push('release')
    records.delete(keyText(key))
  },
  get: (key: AttachmentKey) => records.get(keyText(key)),
  list: () => [...records.values()],
}

const pods = {
  async add(
    allocation: Allocation,
    _netns: NetworkNamespace,
    signal: AbortSignal,
    stored: Promise<void>,
  ): Promise<PodRow> {
    if (failure !== undefined) throw failure
    await stored
    signal.throwIfAborted()
    wired.add(keyText(allocation.key))
    return computePod({ ...allocation, ifname: allocation.key.ifname }, 1450)
  },
  async remove(allocation: Allocation) {
    if (failure !== undefined) throw failure
    log.push('unwire')
    wired.delete(keyText(allocation.key))
  },
  async removeDevice(name: string) {
    log.push(`remove ${name}`)
  },
  check: () => Promise.resolve(),
}

beforeEach(() => {
  records = new Map()
  wired = new Set()
  failure = undefined
  diskFailure = undefined
  log = []
  const deps = { ipam, pods, hostNamespace: elsewhere, bootId: BOOT, log: silentLog }
  verbs = new Verbs({ ...deps, hasHostPorts: true })
})

function request(bootTimeUs = 10, change: Partial<CniRequest> = {}): CniRequest {
  return {
    cniVersion: '1.0.0',
    containerId: 'c1',
    netns: '/proc/self/ns/net',
    ifname: 'eth0',
    args: 'K8S_POD_NAME=web',
    path: '',
    config: { cniVersion: '1.0.0', name: 'sinabro', type: 'sinabro-cni' },
    sequence: { bootId: BOOT, bootTimeUs },
    ...change,
  }
}

const text = 'sinabro/c1/eth0'

test('ADD answers what was built, and keeps who asked and when with the allocation', async () => {
  const result = await verbs.add(request(), never)
  expect(result.ips).toEqual([{ address: '10.244.1.2/32', gateway: '169.254.1.1', interface: 1 }])
  expect(records.get(text)).toMatchObject({
    netns: '/proc/self/ns/net',
    podName: 'web',
    sequence: { bootTimeUs: 10 },
  })
})

test('ADD hands on the addresses that are asked for, and refuses what is none before it does anything', async () => {
  const asking = (ip: string) => request(10, { args: `IP=${ip}` })
  const refusal = await verbs.add(asking('10.1'), never).catch(toCniError)
  expect(refusal).toMatchObject({ cniCode: codes.invalidConfig })
  expect(records.size).toBe(0)
  await verbs.add(asking('10.244.1.2/24'), never)
  expect(log).toEqual([])
  expect(records.get(text)).toMatchObject({ addresses: ['10.244.1.2'] })
})

test('ADD keeps the MAC that is asked for, and refuses another one for the same attachment', async () => {
  const asking = (mac: string) => request(10, { args: `MAC=${mac}` })
  const { interfaces } = await verbs.add(asking('02:00:00:00:00:04'), never)
  expect(interfaces?.[1]?.mac).toBe('02:00:00:00:00:04')
  expect(records.get(text)).toMatchObject({ mac: '02:00:00:00:00:04' })
  await verbs.add(request(11), never)
  const refusal = await verbs.add(asking('02:00:00:00:00:05'), never).catch(toCniError)
  expect(refusal).toMatchObject({ cniCode: codes.addressUnavailable })
  expect(wired.has(text)).toBe(true)
})

describe('host ports', () => {
  const asking = (containerId: string, ...portMappings: object[]): Partial<CniRequest> => ({
    ...{ containerId, args: `K8S_POD_NAMESPACE=default;K8S_POD_NAME=${containerId}` },
    config: { ...request().config, runtimeConfig: { portMappings } },
  })
  const port = { hostPort: 80, containerPort: 8080, protocol: 'tcp' }
  const add = (change: Partial<CniRequest>) => verbs.add(request(10, change), never)

  test('are kept with the allocation, and others in a repeated ADD are refused', async () => {
    await add(asking('a', port))
    const mapping = { hostPort: 80, containerPort: 8080, protocol: 'TCP' }
    expect(records.get('sinabro/a/eth0')).toMatchObject({ portMappings: [mapping] })
    const refusal = await add(asking('a', { ...port, hostPort: 81 })).catch(toCniError)
    expect(refusal).toMatchObject({ cniCode: codes.invalidConfig })
    const broken = await add(asking('b', { ...port, hostPort: -1 })).catch(toCniError)
    expect(broken).toMatchObject({ cniCode: codes.invalidConfig })
  })

  test('of another pod are refused, also while its ADD runs; free after its DEL', async () => {
    const first = add(asking('a', port))
    const refusal = await add(asking('b', { ...port, hostIP: '192.0.2.1' })).catch(toCniError)
    expect(refusal).toMatchObject({
      cniCode: codes.hostPortTaken,
      message: 'host port 192.0.2.1:80 to 8080/TCP: default/a of this node has it',
    })
    await first
    expect(await add(asking('b', port)).catch(toCniError)).toMatchObject({
      cniCode: codes.hostPortTaken,
    })
    await add(asking('c', { ...port, protocol: 'udp' }))
    await verbs.del(request(20, asking('a', port)))
    await add(asking('b', port))
  })

  test('of an ADD that failed, of an earlier sandbox of the pod and of an earlier boot bind nobody', async () => {
    failure = new Error('not now')
    await add(asking('a', port)).catch(toCniError)
    failure = undefined
    await add(asking('b', port))
    await add({ ...asking('b', port), containerId: 'c' })
    records.clear()
    await verbs.add(
      request(10, { ...asking('a', port), sequence: { bootId: 'x', bootTimeUs: 1 } }),
      never,
    )
    await add(asking('d', port))
  })

  test('are looked for by CHECK', async () => {
    const deps = { ipam, pods, hostNamespace: elsewhere, bootId: BOOT, log: silentLog }
    let missing = ['80/TCP']
    verbs = new Verbs({ ...deps, hasHostPorts: true, missingHostPorts: () => missing })
    await add(asking('a', port))
    const check = () => verbs.check(request(20, asking('a', port)), never)
    await expect(check()).rejects.toMatchObject({ cniCode: codes.checkFailed })
    missing = []
    await check()
  })

  test('are served when ADD returns; where they cannot be, it is taken back and says which', async () => {
    const served = Promise.withResolvers<void>()
    const began = Promise.withResolvers<void>()
    let hostPortsServed = (): Promise<void> => {
      began.resolve()
      return served.promise
    }
    const deps = { ipam, pods, hostNamespace: elsewhere, bootId: BOOT, log: silentLog }
    verbs = new Verbs({ ...deps, hasHostPorts: true, hostPortsServed: () => hostPortsServed() })
    let isDone = false
    const adding = add(asking('a', port)).then(() => {
      isDone = true
    })
    await began.promise
    expect([wired.has('sinabro/a/eth0'), isDone]).toEqual([true, false])
    served.resolve()
    await adding
    await add({ containerId: 'plain' })

    hostPortsServed = () => Promise.reject(new Error('too late'))
    log = []
    await expect(add(asking('b', { ...port, hostPort: 81 }))).rejects.toMatchObject({
      cniCode: codes.tryAgainLater,
      message: expect.stringContaining('not served yet: :81 to 8080/TCP'),
    })
    expect(log).toEqual(['unwire', 'release'])
    hostPortsServed = () => {
      failure = new Error('the device is still there')
      return Promise.reject(new Error('too late'))
    }
    await add(asking('b', { ...port, hostPort: 81 })).catch(() => undefined)
    expect(records.has('sinabro/b/eth0')).toBe(true)
    failure = undefined
    await add(asking('a', port)).catch(() => undefined)
    expect(wired.has('sinabro/a/eth0')).toBe(true)
  })

  test('are left to portmap where they are not ours', async () => {
    const deps = { ipam, pods, hostNamespace: elsewhere, bootId: BOOT, log: silentLog }
    verbs = new Verbs({ ...deps, hasHostPorts: false })
    await add(asking('a', port))
    await add(asking('b', port))
  })
})

test('reclaim() removes as a DEL of that time would', async () => {
  await verbs.add(request(10), never)
  const { key } = records.get(text) as Allocation
  expect(await verbs.reclaim(key, { bootId: BOOT, bootTimeUs: 9 })).toBe(false)
  expect(records.size).toBe(1)
  expect(await verbs.reclaim(key, { bootId: BOOT, bootTimeUs: 11 })).toBe(true)
  expect(records.size).toBe(0)
})

test('ADD whose wiring fails gives the address back', async () => {
  failure = new PodError('interface-taken', 'eth0 is there')
  const error = await verbs.add(request(), never).catch(toCniError)
  expect(error).toMatchObject({ cniCode: codes.interfaceTaken })
  expect(records.size).toBe(0)
})

test('ADD whose wiring could not be undone keeps the address till its DEL', async () => {
  failure = new PodError('undo-failed', 'the device is still there')
  await expect(verbs.add(request(), never)).rejects.toThrow()
  expect(records.size).toBe(1)
})

test('ADD repeated for a running pod that fails takes nothing from it', async () => {
  await verbs.add(request(), never)
  failure = new Error('not now')
  await expect(verbs.add(request(20), never)).rejects.toThrow('not now')
  expect([...records.keys()]).toEqual([text])
  expect([...wired]).toEqual([text])
})

test('ADD without a namespace, or into one that is none, allocates nothing', async () => {
  const without = await verbs.add(request(10, { netns: '' }), never).catch(toCniError)
  expect(without).toMatchObject({ cniCode: codes.invalidEnvironment })
  const gone = await verbs.add(request(10, { netns: '/run/netns/none' }), never).catch(toCniError)
  expect(gone).toMatchObject({ cniCode: codes.invalidNetns })
  expect(records.size).toBe(0)
})

test('DEL takes the wiring first and the address last', async () => {
  await verbs.add(request(), never)
  await verbs.del(request(20))
  expect(log).toEqual(['unwire', 'release'])
  expect(records.size).toBe(0)
})

test('DEL that cannot take the wiring keeps the address and fails', async () => {
  await verbs.add(request(), never)
  failure = new Error('busy')
  await expect(verbs.del(request(20))).rejects.toThrow('busy')
  expect(records.size).toBe(1)
})

test('DEL of what nobody knows looks for a device of that key, and is fine', async () => {
  await verbs.del(request(20))
  expect(log).toEqual([expect.stringMatching(/^remove sb[a-z2-7]{13}$/), 'release'])
})

test('DEL that began before the ADD undoes nothing, also after a repeated ADD', async () => {
  await verbs.add(request(10), never)
  await verbs.del(request(5))
  expect(records.size).toBe(1)
  await verbs.add(request(30), never)
  await verbs.del(request(20))
  expect(records.size).toBe(1)
  await verbs.del(request(40))
  expect(records.size).toBe(0)
})

test('DEL of this boot undoes an ADD of an earlier one, and not the other way round', async () => {
  await verbs.add(request(99, { sequence: { bootId: 'earlier', bootTimeUs: 99 } }), never)
  await verbs.del(request(1))
  expect(records.size).toBe(0)
  await verbs.add(request(1), never)
  await verbs.del(request(99, { sequence: { bootId: 'earlier', bootTimeUs: 99 } }))
  expect(records.size).toBe(1)
})

test('CHECK without an allocation says so, and never that no DEL is needed', async () => {
  const error = await verbs.check(request(), never).catch(toCniError)
  expect(error).toMatchObject({ cniCode: codes.checkFailed })
})

function gcRequest(bootTimeUs: number, valid: unknown): CniRequest {
  const config = { cniVersion: '1.1.0', name: 'sinabro', type: 'sinabro-cni' }
  return request(bootTimeUs, {
    containerId: '',
    ifname: '',
    netns: '',
    config: { ...config, 'cni.dev/valid-attachments': valid } as CniRequest['config'],
  })
}

test('GC removes what is not listed, of this network only, and nothing that came later', async () => {
  const other = { cniVersion: '1.1.0', name: 'other', type: 'sinabro-cni' }
  await verbs.add(request(1, { containerId: 'kept' }), never)
  await verbs.add(request(2, { containerId: 'gone' }), never)
  await verbs.add(request(3, { containerId: 'gone', ifname: 'eth1' }), never)
  await verbs.add(request(4, { containerId: 'elsewhere', config: other }), never)
  await verbs.add(request(9, { containerId: 'later' }), never)
  await verbs.gc(gcRequest(5, [{ containerID: 'kept', ifname: 'eth0' }]))
  expect([...records.keys()].sort()).toEqual([
    'other/elsewhere/eth0',
    'sinabro/kept/eth0',
    'sinabro/later/eth0',
  ])
})

test('GC with an empty list removes all of the network, without a list nothing', async () => {
  await verbs.add(request(1), never)
  for (const list of [undefined, null, {}, [{ containerID: 'x' }]]) {
    await expect(verbs.gc(gcRequest(5, list))).rejects.toBeInstanceOf(CniError)
  }
  expect(records.size).toBe(1)
  await verbs.gc(gcRequest(5, []))
  expect(records.size).toBe(0)
})

test('GC goes on after an error and names all that failed', async () => {
  await verbs.add(request(1, { containerId: 'a' }), never)
  await verbs.add(request(2, { containerId: 'b' }), never)
  failure = new Error('busy')
  await expect(verbs.gc(gcRequest(5, []))).rejects.toMatchObject({
    message: '2 attachments could not be removed',
    details: 'sinabro/a/eth0: busy; sinabro/b/eth0: busy',
  })
})
