// Runs inside a namespace of two-nodes.ts: a server that gives what is asked, and the clients that ask.
import { createHash } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { connect, createServer, isIPv6 } from 'node:net'

const [verb, address = '', port = '', size = '0'] = process.argv.slice(2)

/** Bytes that both ends know without telling each other. */
function bytes(count: number): Buffer {
  return Buffer.alloc(count, 'sinabro')
}

function digest(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}

function serve(): void {
  const tcp = createServer((socket) => {
    socket.once('data', (asked) => socket.end(bytes(Number(asked.toString()))))
    socket.on('error', () => socket.destroy())
  })
  const udp = createSocket(isIPv6(address) ? 'udp6' : 'udp4')
  udp.on('message', (message, from) => udp.send(message, from.port, from.address))
  udp.bind(Number(port), address, () => {
    tcp.listen(Number(port), address, () => console.log('listening'))
  })
}

/** Prints how many bytes came and that they are the right ones. */
function fetchBytes(): void {
  const parts: Buffer[] = []
  const socket = connect({ host: address, port: Number(port) }, () => socket.write(size))
  socket.on('data', (part) => parts.push(Buffer.from(part)))
  socket.on('end', () => {
    const content = Buffer.concat(parts)
    console.log(content.length, digest(content) === digest(bytes(Number(size))))
  })
}

function echo(): void {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4')
  socket.on('message', (message) => {
    console.log(message.length, digest(message) === digest(bytes(Number(size))))
    socket.close()
  })
  socket.send(bytes(Number(size)), Number(port), address)
}

if (verb === 'serve') serve()
else if (verb === 'fetch') fetchBytes()
else if (verb === 'echo') echo()
else process.exitCode = 2
