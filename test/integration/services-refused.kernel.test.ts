// Services that nobody serves: a pod is told so at once, whichever protocol it asks by, and gets through as soon as somebody does.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, type Lab, type Pod } from '../lab/index.ts'
import { type EndpointObject, serviceObjects } from '../lab/service-objects.ts'
import { greet, serve } from '../lab/talk.ts'
import { HTTP_PORT, UDP_PORT } from '../lab/traffic.ts'
import { raise, whatIsWrong } from './stage.ts'

const WEB = ['10.96.0.20', 'fd00:10:96::20']
const EMPTY = ['10.96.0.21', 'fd00:10:96::21']
const PORTS = [
  { name: 'http', port: 80, targetPort: HTTP_PORT },
  { name: 'echo', port: 81, targetPort: UDP_PORT, protocol: 'UDP' as const },
]
let lab: Lab
let pod: Pod
let server: Pod

beforeAll(async () => {
  const args = ['--services', 'ebpf', '--service-cidrs', '10.96.0.0/16,fd00:10:96::/112']
  lab = await raise('services-refused', { nodes: 2, agent: { args } })
  pod = await lab.node(1).addPod('pod')
  server = await lab.node(2).addPod('server')
  await serve(server)
  write('web', WEB, [{ addresses: server.addresses, nodeName: 'node2' }])
  write('empty', EMPTY, [])
  await eventually('the Service to answer', async () => {
    return (await greet(pod, WEB[0] ?? '', 80).catch(() => undefined)) !== undefined
  })
})

afterAll(() => lab?.down())

function write(name: string, clusterIPs: string[], endpoints: EndpointObject[]): void {
  for (const object of serviceObjects(name, { clusterIPs, ports: PORTS, endpoints })) {
    lab.manifests.write(object)
  }
}

/** What the kernel says of a connection, or of a datagram's answer, within some seconds; empty if nothing. */
async function knock(kind: 'tcp' | 'udp', address: string, port: number): Promise<string> {
  const script = `exec 3<>"/dev/${kind}/$0/$1" && echo >&3 && read -t 4 -u 3 answer`
  const argv = ['timeout', '8', 'bash', '-c', script, address, String(port)]
  const { stderr } = await pod.machine.exec(argv, { ...pod.inside, canFail: true })
  return stderr
}

describe.each([0, 1])('family %i', (family) => {
  test('a Service with an endpoint on another node answers, and sees who asked', async () => {
    expect(await greet(pod, WEB[family] ?? '', 80)).toEqual({
      server: 'server',
      client: pod.addresses[family],
    })
  })

  test('TCP to one without endpoints is refused', async () => {
    expect(await knock('tcp', EMPTY[family] ?? '', 80)).toContain('refused')
  })

  test('UDP to one without endpoints is refused', async () => {
    expect(await knock('udp', EMPTY[family] ?? '', 81)).toContain('refused')
  })

  test('TCP to a port that is nobody’s is refused', async () => {
    expect(await knock('tcp', WEB[family] ?? '', 82)).toContain('refused')
  })
})

test('an endpoint that comes is asked, and when it goes the Service is refused again', async () => {
  write('empty', EMPTY, [{ addresses: server.addresses, nodeName: 'node2' }])
  await eventually('the endpoint to be asked', async () => {
    return (await greet(pod, EMPTY[0] ?? '', 80).catch(() => undefined)) !== undefined
  })
  write('empty', EMPTY, [])
  await eventually('the Service to be refused', async () => {
    return (await knock('tcp', EMPTY[0] ?? '', 80)).includes('refused')
  })
})

test('nothing else is left on the node than what belongs there', async () => {
  for (const node of lab.nodes) expect(await whatIsWrong(node)).toEqual([])
})
