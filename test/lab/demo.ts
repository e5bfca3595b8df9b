// `npm run demo`: two nodes, four pods, both families; does what a cluster does and prints what it saw. --keep leaves it up.
import { parseArgs } from 'node:util'
import { captureOne, decodeVxlan } from './capture.ts'
import { Conversations } from './conversation.ts'
import { SERVICE_RANGES, showService } from './demo-service.ts'
import { LabError } from './errors.ts'
import { addFarHost } from './far-host.ts'
import { Lab } from './lab.ts'
import type { LabNode } from './node.ts'
import { readAllocations } from './node-state.ts'
import { Pod } from './pod.ts'
import { withProgress } from './progress.ts'
import { echoUdp, greet, ping, serve, Upload, upload } from './talk.ts'

const NAME = 'demo'
const BULK_BYTES = 256 << 20
const OUTSIDE_BYTES = 64 << 20
const STEADY_BYTES = 32 << 20
const STEADY_MIB_PER_SEC = 8
const KILL_AT_MIB = 4
const RESTART_AT_MIB = 12
const DATAGRAMS = 100
const DATAGRAM_BYTES = 1200
const SERVICES = ['--services', 'ebpf', '--service-cidrs', SERVICE_RANGES]

let problems = 0
let step = 0

function heading(text: string): void {
  step++
  console.log(`\n${step}. ${text}`)
}

function say(text: string): void {
  console.log(`   ${text}`)
}

function check(isGood: boolean, text: string): void {
  if (!isGood) problems++
  console.log(`   ${isGood ? 'ok  ' : 'FAIL'} ${text}`)
}

async function tour(lab: Lab): Promise<void> {
  heading('Two nodes on one machine, an agent on each')
  for (const node of lab.nodes) node.agent.start({ args: SERVICES })
  const start = performance.now()
  await withProgress('agents', Promise.all(lab.nodes.map((node) => node.agent.waitReady())))
  for (const { name, plan } of lab.nodes) {
    say(`${name}  ${plan.internalIps.join('  ')}  its pods: ${plan.podCidrs.join('  ')}`)
  }
  say(`agents ready after ${ms(performance.now() - start)}`)

  heading('Four pods, connected by the CNI executable as a container runtime calls it')
  const [a, b, c, d] = await fourPods(lab)

  heading('Ping')
  for (const [from, to] of pairs(a, b, c)) await pinged(from, to)

  heading('HTTP')
  for (const pod of [a, b, c, d]) await serve(pod)
  for (const [from, to] of pairs(a, b, c)) await greeted(from, to)

  heading('Bulk TCP and UDP, every byte checked at the other end')
  for (const [from, to] of pairs(a, b, c)) await transferred(from, to)

  heading('A server outside that has no route back to pods')
  await talkedOutside(lab, a)

  heading('On the wire between the nodes: a ping from a to c, captured on the underlay')
  for (const family of [4, 6] as const) await showWire(lab, a, c, family)

  heading('kill -9 of an agent in the middle of a transfer')
  await withProgress('transfer', killDuringTransfer(lab.node(1), a, c))

  heading('A service with three backends on two nodes; one is killed while others connect')
  await showService(lab, a, [b, c, d], check)

  heading('A pod is deleted and its address is free again')
  await deletePod(lab.node(2), d)
}

async function fourPods(lab: Lab): Promise<[Pod, Pod, Pod, Pod]> {
  const add = async (number: number, name: string): Promise<Pod> => {
    const pod = await Pod.prepare(lab.node(number).machine, name)
    const start = performance.now()
    await pod.add()
    const took = ms(performance.now() - start)
    say(`${name}  on ${pod.machine.name}  ${pod.addresses.join('  ')}  ADD ${took}`)
    return pod
  }
  return [await add(1, 'a'), await add(1, 'b'), await add(2, 'c'), await add(2, 'd')]
}

/** Both directions of interest: within node1, and from node1 to node2. */
function pairs(a: Pod, b: Pod, c: Pod): [Pod, Pod][] {
  return [
    [a, b],
    [a, c],
  ]
}

function route(from: Pod, to: Pod): string {
  const how = from.machine === to.machine ? 'same node' : 'across   '
  return `${from.name} → ${to.name}  ${how}`
}

async function pinged(from: Pod, to: Pod): Promise<void> {
  for (const address of to.addresses) {
    check(await ping(from, address, 3), `${route(from, to)}  ${address}`)
  }
}

async function greeted(from: Pod, to: Pod): Promise<void> {
  for (const address of to.addresses) {
    const { server, client } = await greet(from, address)
    const isOwn = from.addresses.includes(client)
    check(server === to.name && isOwn, `${route(from, to)}  ${server} saw ${client}`)
  }
}

async function transferred(from: Pod, to: Pod): Promise<void> {
  for (const address of to.addresses) {
    const { seconds } = await withProgress('transfer', upload(from, address, BULK_BYTES))
    const { echoed } = await echoUdp(from, address, DATAGRAMS, DATAGRAM_BYTES)
    const rate = `${((BULK_BYTES * 8) / seconds / 1e9).toFixed(1)} Gbit/s`
    const text = `${BULK_BYTES >> 20} MiB TCP at ${rate}, ${echoed} of ${DATAGRAMS} datagrams`
    check(echoed === DATAGRAMS, `${route(from, to)}  ${address}  ${text}`)
  }
}

/** Each connection as the server saw it, and as the node shows it. */
async function talkedOutside(lab: Lab, from: Pod): Promise<void> {
  const far = await addFarHost(lab)
  await serve(far)
  const node = lab.node(1)
  for (const family of [4, 6] as const) {
    const address = far.address(family)
    using held = new Conversations(from, 'tcp', address)
    const [seen] = await held.open()
    const { stdout } = await node.exec(['sinabro', 'flows', '--to', address, '--pod', from.name])
    for (const line of stdout.split('\n').slice(0, 2)) say(line)
    const isNode = node.plan.internalIps.includes(seen?.address ?? '')
    const isShown = stdout.includes(`:${seen?.port} `)
    check(
      isNode && isShown,
      `${from.name} → ${far.name}  it saw ${seen?.address}, port ${seen?.port}`,
    )
    const { seconds } = await upload(from, address, OUTSIDE_BYTES)
    const { echoed } = await echoUdp(from, address, DATAGRAMS, DATAGRAM_BYTES)
    const rate = `${((OUTSIDE_BYTES * 8) / seconds / 1e9).toFixed(1)} Gbit/s`
    const text = `${OUTSIDE_BYTES >> 20} MiB TCP at ${rate}, ${echoed} of ${DATAGRAMS} datagrams`
    const isAnswered = (await ping(from, address)) && echoed === DATAGRAMS
    check(isAnswered, `${from.name} → ${far.name}  ${address}  ${text}, ping`)
  }
}

async function showWire(lab: Lab, from: Pod, to: Pod, family: 4 | 6): Promise<void> {
  const source = from.address(family)
  const target = to.address(family)
  const place = { machine: lab.underlay, device: `p-${from.machine.name}`, filter: 'udp' }
  const packet = await captureOne(
    place,
    (frame) => {
      const found = decodeVxlan(frame)
      return found?.inner.source === source && found.inner.target === target ? found : undefined
    },
    () => ping(from, target),
  )
  const { outer, inner } = packet
  const nodes = lab.nodes.flatMap((node) => node.plan.internalIps)
  const isBetweenNodes = nodes.includes(outer.source) && nodes.includes(outer.target)
  const ports = `UDP ${packet.sourcePort} → ${packet.targetPort}`
  say(`outer  ${outer.source} → ${outer.target}  ${ports}  VXLAN ${packet.vni}`)
  say(`inner  ${packet.innerSourceMac} → ${packet.innerTargetMac}`)
  say(
    `inner  ${inner.source} → ${inner.target}  protocol ${inner.protocol}  hop limit ${inner.ttl}`,
  )
  const extra = packet.outerBytes - packet.innerBytes
  check(isBetweenNodes, `node to node outside, pod to pod inside; ${extra} bytes added`)
}

async function killDuringTransfer(node: LabNode, from: Pod, to: Pod): Promise<void> {
  const address = to.address(6)
  const transfer = new Upload(from, address, STEADY_BYTES, STEADY_MIB_PER_SEC)
  await transfer.reached(KILL_AT_MIB)
  await node.agent.kill('SIGKILL')
  say(`${node.name}'s agent killed when ${transfer.mib} of ${STEADY_BYTES >> 20} MiB were sent`)
  check(await ping(from, to.address(4)), 'a new ping passes without an agent')
  await transfer.reached(RESTART_AT_MIB)
  node.agent.start({ args: SERVICES })
  await node.agent.waitReady()
  say(`started again, ready at ${transfer.mib} MiB`)
  const report = await transfer.report()
  check(
    report.sha256 === report.received.sha256,
    `the transfer ended whole: SHA-256 ${report.sha256.slice(0, 16)}… at both ends`,
  )
}

async function deletePod(node: LabNode, pod: Pod): Promise<void> {
  const before = addressesInUse(node)
  const { addresses } = pod
  await pod.remove()
  const after = addressesInUse(node)
  say(`in use on ${node.name} before: ${before.join(' ')}`)
  say(`in use on ${node.name} after:  ${after.join(' ')}`)
  const isFree = addresses.every((a) => before.includes(a) && !after.includes(a))
  check(isFree, `${addresses.join(' and ')} given back`)
  const next = await node.addPod('e')
  check(
    await ping(next, node.pods()[0]?.address(4) ?? ''),
    `a new pod e has ${next.addresses.join(' ')}`,
  )
}

/** As the agent's own files say. */
function addressesInUse(node: LabNode): string[] {
  return readAllocations(node.machine)
    .flatMap(({ addresses }) => addresses)
    .sort()
}

function ms(duration: number): string {
  return `${Math.round(duration)} ms`
}

function lookAround(): void {
  console.log(`
The two nodes are still up. To look around:
  npm run lab -- --name ${NAME} pods
  npm run lab -- --name ${NAME} shell node1            (then: sinabro status; sinabro pods; ip route)
  npm run lab -- --name ${NAME} shell node1 a          a shell in pod a
  npm run lab -- --name ${NAME} exec node1/a -- ping -c 3 ADDRESS
  npm run lab -- --name ${NAME} down                   the end`)
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { keep: { type: 'boolean', default: false } } })
  const start = performance.now()
  let stopping: Promise<never> | undefined
  const stop = (signal: NodeJS.Signals): void => {
    const exit = (): never => process.exit(signal === 'SIGINT' ? 130 : 143)
    stopping ??= Lab.down(NAME).then(exit, exit)
  }
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  const lab = await Lab.up({ name: NAME, nodes: 2, canReplace: true }).catch(async (error) => {
    if (stopping !== undefined) await stopping
    throw error
  })
  try {
    await tour(lab)
  } catch (error) {
    // What fails while the lab is being taken away is no finding.
    if (stopping !== undefined) await stopping
    problems++
    console.error(error instanceof LabError ? `   FAIL ${error.message}` : error)
    for (const node of lab.nodes)
      console.error(`\n${node.name}'s agent said\n${node.agent.logTail()}`)
  } finally {
    process.off('SIGINT', stop)
    process.off('SIGTERM', stop)
    if (values.keep) {
      lab.keep()
      lookAround()
    } else await lab.down()
  }
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  const left = values.keep ? 'left up' : 'nothing left behind'
  console.log(`\n${problems === 0 ? 'All good' : `${problems} FAILED`}, ${seconds} s, ${left}.`)
  return problems === 0 ? 0 : 1
}

try {
  // With --keep the pods' servers go on as our children; waiting for them would never end.
  process.exit(await main())
} catch (error) {
  console.error(error instanceof LabError ? `demo: ${error.message}` : error)
  process.exitCode = 1
}
