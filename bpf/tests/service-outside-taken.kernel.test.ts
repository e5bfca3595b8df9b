// Services asked for from outside, by packet vectors: a connection of the node itself stays its own, whoever names its other end.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, describe, test } from 'vitest'
import { type Outside, openServing } from './outside.ts'
import { links, type Ports, type Route, tcpPacket, udpPacket } from './packets.ts'
import { BACKEND_PORT, begun, CLIENT_PORT, NODE_PORT } from './service-outside-rows.ts'
import { serving } from './service-rows.ts'
import { counted, families, ipv4, ipv6, type World } from './world.ts'

const TCP = 6
const UDP = 17
const OTHER = 50_000

let outside: Outside
let world: World
const children: ChildProcess[] = []
beforeAll(async () => {
  ;({ outside, world } = await openServing({ portMin: OTHER, portMax: OTHER }))
  // So that the node can talk to a stranger.
  for (const [address, prefixLen] of [
    [ipv4.stranger, 32],
    [ipv6.stranger, 128],
  ] as const) {
    await outside.netlink.addresses.replace({ index: 1, address, prefixLen, flags: ['nodad'] })
  }
})
afterEach(async () => {
  for (const child of children.splice(0)) {
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
})
afterAll(() => {
  world?.close()
  outside?.close()
})

/** A process of the node that runs this until the test ends, and has said that it does. */
async function onNode(script: string): Promise<void> {
  const net = `--net=/proc/${process.pid}/fd/${outside.netns.fd}`
  const child = spawn('nsenter', [net, process.execPath, '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  await once(child.stdout, 'data')
}

describe.each(families)('IPv$family', (actors) => {
  const { family, node1, stranger } = actors
  const scripts = {
    connected: {
      [TCP]: `const server = require('node:net').createServer()
        server.listen(${CLIENT_PORT}, '${stranger}', () => {
          const [port, host] = [${CLIENT_PORT}, '${stranger}']
          const [localPort, localAddress] = [${BACKEND_PORT}, '${node1}']
          require('node:net').connect({ port, host, localPort, localAddress }, () => console.log(1))
        })`,
      [UDP]: `const socket = require('node:dgram').createSocket('udp${family}')
        socket.bind(${BACKEND_PORT}, '${node1}', () =>
          socket.connect(${CLIENT_PORT}, '${stranger}', () => console.log(1)))`,
    },
    listening: {
      [TCP]: `require('node:net').createServer()
        .listen(${BACKEND_PORT}, '${node1}', () => console.log(1))`,
      [UDP]: `require('node:dgram').createSocket('udp${family}')
        .bind(${BACKEND_PORT}, '${node1}', () => console.log(1))`,
    },
  }

  test.each([
    ['a connection', 'connected', TCP, OTHER],
    ['a connected socket', 'connected', UDP, OTHER],
    ['a listener', 'listening', TCP, CLIENT_PORT],
    ['a socket for everybody', 'listening', UDP, CLIENT_PORT],
  ] as const)('a client with the name of the other end of %s', async (_what, is, proto, port) => {
    await onNode(scripts[is][proto])
    const packet = (route: Route, ports: Ports) =>
      proto === TCP
        ? tcpPacket(links.wire, route, ports, ['syn'])
        : udpPacket(links.wire, route, ports)
    const route = { src: stranger, dst: node1 }
    const asks = { sport: CLIENT_PORT, dport: NODE_PORT }
    const gets = { sport: port, dport: BACKEND_PORT }
    const here = { address: node1, port: BACKEND_PORT }
    world.check({
      what: `${CLIENT_PORT} becomes ${port}`,
      program: 'sb_from_uplink',
      maps: serving({ family, proto, port: NODE_PORT, backends: [here] }),
      packet: packet(route, asks),
      expect: {
        verdict: 'next',
        packetOut: packet(route, gets),
        maps: {
          sb_flows: {
            added: begun(actors, { where: 'node', proto, backend: node1, port }, outside.uplink),
          },
          sb_counters: counted('from_uplink', 'PASS_STACK'),
        },
      },
    })
  })
})
