// Runs inside a namespace of two-nodes.ts: a server that gives what is asked, and the clients that ask.
import { createHash } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer, isIPv6 } from 'node:net'

const [verb, address = '', port = '', size = '0', extra = '0'] = process.argv.slice(2)
/** A request may be lost, as any datagram. */
const ASK_AGAIN_MS = 500

/** Bytes that both ends know without telling each other. */
function bytes(count: number): Buffer {
  return Buffer.alloc(count, 'sinabro')
}

function digest(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}

/** `serve PORT ADDRESS…`: says a line when it answers at all of them. */
async function serve(at: number, hosts: readonly string[]): Promise<void> {
  for (const host of hosts) {
    const tcp = createServer((socket) => {
      socket.once('data', (asked) => socket.end(bytes(Number(asked.toString()))))
      socket.on('error', () => socket.destroy())
    })
    const udp = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
    udp.on('message', (message, from) => udp.send(message, from.port, from.address))
    await once(udp.bind(at, host), 'listening')
    await once(tcp.listen(at, host), 'listening')
  }
  console.log('listening')
}

/** Prints how many bytes came and that they are the right ones. `extra`: how long the request is, at least. */
function fetchBytes(): void {
  const parts: Buffer[] = []
  const request = size.padEnd(Number(extra))
  const socket = connect({ host: address, port: Number(port) }, () => socket.write(request))
  socket.on('data', (part) => parts.push(Buffer.from(part)))
  socket.on('end', () => {
    const content = Buffer.concat(parts)
    console.log(content.length, digest(content) === digest(bytes(Number(size))))
  })
}

/** `extra`: the port to ask from. */
function echo(): void {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4')
  const ask = () => socket.send(bytes(Number(size)), Number(port), address)
  const again = setInterval(ask, ASK_AGAIN_MS)
  socket.on('message', (message) => {
    console.log(message.length, digest(message) === digest(bytes(Number(size))))
    clearInterval(again)
    socket.close()
  })
  socket.bind(Number(extra), ask)
}

/** Prints what a datagram is refused with. */
function refused(): void {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4')
  socket.on('error', (error) => {
    console.log('code' in error ? error.code : error.message)
    socket.close()
  })
  socket.connect(Number(port), address, () => socket.send('?'))
}

if (verb === 'serve') await serve(Number(address), process.argv.slice(4))
else if (verb === 'fetch') fetchBytes()
else if (verb === 'echo') echo()
else if (verb === 'refused') refused()
else process.exitCode = 2
