// A node whose sockets cannot be asked: pods are served packet by packet, the node's own processes are not, and status says so.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventually, type Lab, type Pod } from '../lab/index.ts'
import { serviceObjects } from '../lab/service-objects.ts'
import { greet, serve } from '../lab/talk.ts'
import { HTTP_PORT } from '../lab/traffic.ts'
import { nodePlace } from './masquerade-stage.ts'
import { raise } from './stage.ts'

const WEB = ['10.96.0.20', 'fd00:10:96::20']
let lab: Lab
let pod: Pod
let server: Pod

beforeAll(async () => {
  const args = ['--services', 'ebpf', '--service-cidrs', '10.96.0.0/16,fd00:10:96::/112']
  args.push('--without-features', 'cgroup2')
  lab = await raise('services-by-packets', { nodes: 2, agent: { args } })
  pod = await lab.node(1).addPod('pod')
  server = await lab.node(2).addPod('server')
  await serve(server)
  const ports = [{ name: 'http', port: 80, targetPort: HTTP_PORT }]
  const endpoints = [{ addresses: server.addresses, nodeName: 'node2' }]
  for (const object of serviceObjects('web', { clusterIPs: WEB, ports, endpoints })) {
    lab.manifests.write(object)
  }
})

afterAll(() => lab?.down())

test.each(WEB)('a pod reaches %s, and is seen as itself', async (address) => {
  await eventually('the Service to answer', async () => {
    return (await greet(pod, address, 80).catch(() => undefined)) !== undefined
  })
  const client = pod.addresses.find((one) => one.includes(':') === address.includes(':'))
  expect(await greet(pod, address, 80)).toEqual({ server: 'server', client })
})

test('the node’s own processes do not, and status says why and what to do', async () => {
  await expect(greet(nodePlace(lab), WEB[0] ?? '', 80)).rejects.toThrow()
  const { stdout } = await lab.node(1).exec(['sinabro', 'status', '-o', 'json'], { canFail: true })
  expect(stdout).toContain('ebpf without sockets')
  expect(stdout).toMatch(/processes of the node itself do not find them.*mount -t cgroup2/)
})
