// Ports of the node, on the lab: host ports of pods, the ports that load balancers ask, what the commands say of both, and leaving kube-proxy.
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { addFarHost, type FarHost } from '../lab/far-host.ts'
import { CniFailure, eventually, type Lab, type LabNode, type Pod } from '../lab/index.ts'
import { readAllocations } from '../lab/node-state.ts'
import { serviceObjects } from '../lab/service-objects.ts'
import { echoUdp, greet, serve } from '../lab/talk.ts'
import { HTTP_PORT, UDP_PORT } from '../lab/traffic.ts'
import { nodePlace } from './masquerade-stage.ts'
import { raise, whatIsWrong } from './stage.ts'

const NAME = 'host-ports'
const SERVICES = ['--services', 'ebpf', '--service-cidrs', '10.96.0.0/16,fd00:96::/112']
const FAMILIES = [4, 6] as const
let lab: Lab
let node: LabNode
let far: FarHost
let web: Pod

const tcp = { hostPort: 9090, containerPort: HTTP_PORT, protocol: 'tcp' }
const udp = { hostPort: 5353, containerPort: UDP_PORT, protocol: 'udp' }
const withPorts = (...portMappings: object[]) => ({ plugin: { runtimeConfig: { portMappings } } })
const addressOf = (family: 4 | 6) => node.plan.internalIps[family === 4 ? 0 : 1] ?? ''

beforeAll(async () => {
  lab = await raise(NAME, { nodes: 2, agent: { args: SERVICES } })
  node = lab.node(1)
  far = await addFarHost(lab)
  web = await node.addPod('web', withPorts(tcp, udp))
  await serve(web)
})

afterAll(() => lab?.down())

async function restart(...args: string[]): Promise<void> {
  await node.agent.kill('SIGTERM')
  node.agent.start({ args })
  await node.agent.waitReady()
}

async function show<T>(...command: string[]): Promise<T> {
  const { stdout } = await node.exec(['sinabro', ...command, '-o', 'json'])
  return JSON.parse(stdout) as T
}

async function answers(): Promise<void> {
  for (const family of FAMILIES) {
    await eventually(`host port of family ${family}`, async () => {
      return await greet(far, addressOf(family), tcp.hostPort).then(
        ({ server }) => server === 'web',
        () => false,
      )
    })
    expect(await echoUdp(far, addressOf(family), 3, 200, udp.hostPort)).toMatchObject({
      echoed: 3,
    })
  }
}

test('a host port answers outside, with the client’s own address, and pods of both nodes, both protocols and families', async () => {
  await answers()
  const client = await node.addPod('client')
  const remote = await lab.node(2).addPod('remote')
  for (const family of FAMILIES) {
    const { client: seen } = await greet(far, addressOf(family), tcp.hostPort)
    expect(seen).toContain(far.address(family))
    for (const from of [client, remote, web, nodePlace(lab, 2)]) {
      const heard = await greet(from, addressOf(family), tcp.hostPort)
      expect(heard, from.name).toMatchObject({ server: 'web' })
    }
  }
  await client.remove()
  await remote.remove()
})

test('the node’s own processes reach it too, by loopback as well', async () => {
  const place = nodePlace(lab)
  for (const address of [addressOf(4), addressOf(6), '127.0.0.1', '::1']) {
    expect(await greet(place, address, tcp.hostPort)).toMatchObject({ server: 'web' })
  }
})

test('the conflist has no portmap; the record keeps the ports, and a new agent serves them', async () => {
  const { stdout } = await node.exec(['cat', '/etc/cni/net.d/05-sinabro.conflist'])
  expect(JSON.parse(stdout).plugins).toMatchObject([
    { type: 'sinabro-cni', capabilities: { portMappings: true } },
  ])
  await node.agent.kill('SIGKILL')
  expect(await greet(far, addressOf(4), tcp.hostPort)).toMatchObject({ server: 'web' })
  node.agent.start({ args: SERVICES })
  await node.agent.waitReady()
  await answers()
  expect(await whatIsWrong(node)).toEqual([])
  await web.check()
})

test('a second pod with the port is refused with code 107, another address or protocol is not', async () => {
  const refused = await node.addPod('second', withPorts(tcp)).catch((error: unknown) => error)
  expect(refused).toBeInstanceOf(CniFailure)
  expect(refused).toMatchObject({ cniCode: 107 })
  const loopback = { ...tcp, hostPort: 8081, hostIP: '127.0.0.1' }
  const second = await node.addPod('second', withPorts(loopback))
  await serve(second)
  const onlyHere = () =>
    greet(nodePlace(lab), '127.0.0.1', 8081).then(
      ({ server }) => server === 'second',
      () => false,
    )
  await eventually('the host port of loopback', onlyHere)
  await expect(greet(far, addressOf(4), 8081)).rejects.toThrow()
  await second.remove()
})

test('a pod’s own traffic to that port of somebody else is left alone', async () => {
  await serve(far)
  const client = await node.addPod('client')
  expect(await greet(client, far.address(4))).toMatchObject({ server: 'far' })
  await expect(greet(client, far.address(4), tcp.hostPort)).rejects.toThrow()
  await client.remove()
})

test('turned off and on under the pod: portmap’s while off, ours again from the record', async () => {
  await restart('--services', 'none')
  await expect(greet(far, addressOf(4), tcp.hostPort)).rejects.toThrow()
  const off = await node.exec(['sinabro', 'services'], { canFail: true })
  expect([off.status, off.stderr]).toEqual([1, expect.stringContaining('--services none')])
  await restart(...SERVICES)
  await answers()
})

test('load balancers are answered on 10256 and on the port of a Service with externalTrafficPolicy Local', async () => {
  const objects = serviceObjects('local', {
    clusterIPs: ['10.96.0.5', 'fd00:96::5'],
    ports: [{ port: 80, targetPort: HTTP_PORT, nodePort: 30_080 }],
    endpoints: [{ addresses: web.addresses, nodeName: 'node1' }],
    spec: { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 31_000 },
  })
  for (const object of objects) lab.manifests.write(object)
  const status = async (family: 4 | 6, port: number, path = '/healthz') => {
    const host = family === 6 ? `[${addressOf(6)}]` : addressOf(4)
    const argv = ['curl', '-s', '-m', '3', '-o', '/dev/null', '-w', '%{http_code}']
    const asked = [...argv, `http://${host}:${port}${path}`]
    const { stdout } = await far.machine.exec(asked, { ...far.inside, canFail: true })
    return stdout
  }
  for (const family of FAMILIES) {
    await eventually('the health check', async () => (await status(family, 31_000)) === '200')
    expect(await status(family, 10_256)).toBe('200')
    expect(await status(family, 10_256, '/livez')).toBe('200')
    expect(await greet(far, addressOf(family), 30_080)).toMatchObject({ server: 'web' })
  }
  const mode = await node.exec(['curl', '-s', 'http://127.0.0.1:10249/proxyMode'])
  expect(mode.stdout).toBe('ebpf')
  for (const object of objects.slice(1)) lab.manifests.remove(object)
  await eventually('no endpoint', async () => (await status(4, 31_000)) === '503')
  for (const object of objects.slice(1)) lab.manifests.write(object)
  await eventually('an endpoint', async () => (await status(4, 31_000)) === '200')
})

test('services, backends, explain and flows tell what is served, from where and why', async () => {
  const client = await node.addPod('client')
  expect(await show('services', 'default/local')).toMatchObject({
    services: [{ name: 'default/local', type: 'LoadBalancer', healthCheckNodePort: 31_000 }],
  })
  const { backends } = await show<{ backends: { services: string[]; protocol: string }[] }>(
    'backends',
  )
  const ofWeb = backends.filter(({ services }) => services.includes('hostport:default/web'))
  expect(ofWeb.map(({ protocol }) => protocol).sort()).toEqual(['tcp', 'tcp', 'udp', 'udp'])
  const explain = (...asked: string[]) => show('services', 'explain', ...asked)
  const chosen = { outcome: 'chosen', service: 'default/local' }
  expect(await explain('10.96.0.5:80', '--from', 'default/client')).toMatchObject({
    ...chosen,
    list: 'internal',
    backends: [{ address: web.addresses[0], chance: 1 }],
  })
  const outside = ['--from', far.address(4)]
  expect(await explain(`${addressOf(4)}:30080`, ...outside)).toMatchObject({
    ...chosen,
    list: 'external',
    frontend: { kind: 'NodePort' },
  })
  expect(await explain(`${addressOf(4)}:9090`, ...outside)).toMatchObject({
    outcome: 'chosen',
    service: 'hostport:default/web',
  })
  expect(await explain('10.96.0.5:81')).toMatchObject({ outcome: 'refused' })
  expect(await explain('10.96.77.7:80')).toMatchObject({ outcome: 'dropped' })
  expect(await explain(`${far.address(4)}:80`)).toMatchObject({ outcome: 'none' })
  await greet(far, addressOf(4), 30_080)
  expect(await show('flows', '--to', `${addressOf(4)}`)).toMatchObject({
    flows: expect.arrayContaining([
      expect.objectContaining({
        destination: expect.objectContaining({ port: 30_080 }),
        backend: expect.objectContaining({ address: web.addresses[0], port: HTTP_PORT }),
      }),
    ]),
  })
  await client.remove()
})

test('a NodePort keeps its port from a pod that wants it as host port, and status says so', async () => {
  const wanting = await node.addPod('wanting', withPorts({ ...tcp, hostPort: 30_080 }))
  const { problems } = await show<{ problems: { message: string }[] }>('status')
  expect(problems.map(({ message }) => message)).toContainEqual(
    expect.stringContaining('host port 30080/TCP of default/wanting is the NodePort of a Service'),
  )
  expect(await greet(far, addressOf(4), 30_080)).toMatchObject({ server: 'web' })
  await wanting.remove()
})

test('DEL takes the ports with it', async () => {
  await web.remove()
  expect(readAllocations(node.machine)).toEqual([])
  await eventually('the port to be nobody’s', async () => {
    return await greet(far, addressOf(4), tcp.hostPort).then(
      () => false,
      () => true,
    )
  })
})

test('--clean-kube-proxy removes what kube-proxy has left, once all is served', async () => {
  await node.agent.kill('SIGTERM')
  const folder = new URL('../bench/testdata/', import.meta.url)
  const rules = readFileSync(new URL('kube-proxy-1.34.4.nft', folder), 'utf8')
  await node.exec(['nft', '-f', '-'], { input: rules })
  node.agent.start({ args: [...SERVICES, '--clean-kube-proxy', 'yes'] })
  await node.agent.waitReady()
  await eventually('the rules of kube-proxy to go', async () => {
    const { stdout } = await node.exec(['nft', 'list', 'tables'])
    return !stdout.includes('kube-proxy')
  })
})
