// Runs inside pods: servers and clients whose every byte is checked. `node traffic.ts serve | upload | download | udp | http | servers …`
import { createHash, type Hash } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer as createHttpServer, get, type IncomingMessage } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'
import { hostname } from 'node:os'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { serveWho } from './who.ts'

export const TCP_PORT = 5001
export const UDP_PORT = 5002
export const HTTP_PORT = 8080

/** What `upload` prints at its end, one line of JSON. */
export interface UploadReport {
  readonly bytes: number
  readonly seconds: number
  readonly sha256: string
  /** What the server counted and hashed. */
  readonly received: { readonly bytes: number; readonly sha256: string }
}

/** What `download` prints. */
export interface DownloadReport {
  readonly bytes: number
  readonly isWhole: boolean
}

/** What `udp` prints. */
export interface UdpReport {
  readonly sent: number
  readonly echoed: number
}

/** What a GET of `/` answers. */
export interface Greeting {
  readonly server: string
  readonly client: string
}

const BLOCK_BYTES = 1 << 16
const UDP_WAIT_MS = 2_000

/** Takes what clients send until they end, and answers with its length and hash; echoes UDP; greets over HTTP, or sends `/BYTES`. */
async function serve(name: string): Promise<void> {
  const tcp = createServer({ allowHalfOpen: true }, (socket) => {
    const hash = createHash('sha256')
    let bytes = 0
    socket.on('data', (chunk) => {
      bytes += chunk.length
      hash.update(chunk)
    })
    socket.on('end', () => socket.end(JSON.stringify({ bytes, sha256: hash.digest('hex') })))
    socket.on('error', (error) => console.error(`tcp: ${error.message}`))
  })
  const udp = createSocket({ type: 'udp6' })
  udp.on('message', (message, from) => udp.send(message, from.port, from.address))
  const http = createHttpServer((request, response) => {
    const bytes = Number(request.url?.slice(1))
    if (bytes > 0) {
      Readable.from(blocks(bytes)).pipe(response)
      return
    }
    const client = request.socket.remoteAddress?.replace(/^::ffff:/, '') ?? ''
    response.end(JSON.stringify({ server: name, client } satisfies Greeting))
  })
  await Promise.all([
    new Promise<void>((resolve) => tcp.listen(TCP_PORT, '::', resolve)),
    new Promise<void>((resolve) => udp.bind(UDP_PORT, '::', resolve)),
    new Promise<void>((resolve) => http.listen(HTTP_PORT, '::', resolve)),
    serveWho(),
  ])
  console.log('listening')
}

/** Sends so many bytes, no faster than so many MiB/s (0: as fast as it goes); prints a line per MiB of progress to stderr. */
async function upload(host: string, bytes: number, mibPerSec: number): Promise<void> {
  const socket = connect({ host, port: TCP_PORT, allowHalfOpen: true })
  const answer = readAll(socket)
  const hash = createHash('sha256')
  const start = performance.now()
  let sent = 0
  for (let number = 0; sent < bytes; number++) {
    const block = blockOf(number, Math.min(BLOCK_BYTES, bytes - sent), hash)
    sent += block.length
    if (!socket.write(block)) {
      await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), answer])
    }
    if (sent % (1 << 20) === 0) process.stderr.write(`${sent >> 20}\n`)
    if (mibPerSec > 0) {
      const dueMs = (sent / (mibPerSec * (1 << 20))) * 1000
      await sleep(Math.max(0, start + dueMs - performance.now()))
    }
  }
  socket.end()
  const received = JSON.parse(await answer) as UploadReport['received']
  const seconds = (performance.now() - start) / 1000
  const report: UploadReport = { bytes, seconds, sha256: hash.digest('hex'), received }
  console.log(JSON.stringify(report))
  process.exitCode = report.sha256 === received.sha256 && bytes === received.bytes ? 0 : 1
}

function* blocks(bytes: number, hash = createHash('sha256')): Generator<Buffer> {
  for (let number = 0; number * BLOCK_BYTES < bytes; number++) {
    yield blockOf(number, Math.min(BLOCK_BYTES, bytes - number * BLOCK_BYTES), hash)
  }
}

/** Has so many bytes sent to it, and compares them with what should come. */
async function download(host: string, bytes: number): Promise<void> {
  const expected = createHash('sha256')
  for (const _ of blocks(bytes, expected));
  const address = host.includes(':') ? `[${host}]` : host
  const hash = createHash('sha256')
  let received = 0
  const call = get(`http://${address}:${HTTP_PORT}/${bytes}`, { timeout: 10_000 })
  call.on('timeout', () => call.destroy(new Error('nothing came for 10 s')))
  const [response] = (await once(call, 'response')) as [IncomingMessage]
  for await (const chunk of response) {
    received += chunk.length
    hash.update(chunk)
  }
  const isWhole = hash.digest('hex') === expected.digest('hex')
  console.log(JSON.stringify({ bytes: received, isWhole } satisfies DownloadReport))
  process.exitCode = isWhole ? 0 : 1
}

/** No two blocks alike, so that one lost, doubled or swapped shows in the hash. */
function blockOf(number: number, length: number, hash: Hash): Buffer {
  const block = Buffer.alloc(length, number & 0xff)
  if (length >= 4) block.writeUInt32LE(number)
  hash.update(block)
  return block
}

function readAll(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk.toString()
    })
    socket.on('end', () => resolve(text))
    socket.on('error', reject)
  })
}

/** Sends datagrams one after the other, each after the echo of the one before or a while. */
async function udp(host: string, count: number, bytes: number, port: number): Promise<void> {
  const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4' })
  let echoed = 0
  for (let number = 0; number < count; number++) {
    const message = blockOf(number, bytes, createHash('sha256'))
    const echo = new Promise<boolean>((resolve) => {
      socket.once('message', (answer) => resolve(answer.equals(message)))
      socket.once('error', () => resolve(false))
    })
    socket.send(message, port, host)
    if (await Promise.race([echo, sleep(UDP_WAIT_MS, false, { ref: false })])) echoed++
    socket.removeAllListeners()
  }
  socket.close()
  console.log(JSON.stringify({ sent: count, echoed } satisfies UdpReport))
  process.exitCode = echoed === count ? 0 : 1
}

function http(host: string, port: number): Promise<void> {
  const address = host.includes(':') ? `[${host}]` : host
  return new Promise((resolve, reject) => {
    const call = get(`http://${address}:${port}/`, { timeout: 10_000 }, (response) => {
      response.pipe(process.stdout)
      response.on('end', resolve)
    })
    call.on('timeout', () => call.destroy(new Error('no answer in 10 s')))
    call.on('error', reject)
  })
}

/** Who answers each of so many local ports, from the first on. */
async function servers(host: string, port: number, first: number, count: number): Promise<void> {
  const answers = Array.from({ length: count }, (_, i) => serverOf(host, port, first + i))
  console.log(JSON.stringify(await Promise.all(answers)))
}

async function serverOf(host: string, port: number, localPort: number): Promise<string> {
  // A connection of its own, which the other end closes first: the port is free again at once.
  const call = get({ host, port, localPort, agent: false, timeout: 10_000 })
  call.on('timeout', () => call.destroy(new Error(`port ${localPort}: no answer in 10 s`)))
  const [response] = (await once(call, 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of response) text += String(chunk)
  return (JSON.parse(text) as Greeting).server
}

if (import.meta.main) {
  const [verb, ...rest] = process.argv.slice(2)
  const [host = '', first = '0', second = '0', third = '0'] = rest
  if (verb === 'serve') await serve(host || hostname())
  else if (verb === 'upload') await upload(host, Number(first), Number(second))
  else if (verb === 'download') await download(host, Number(first))
  else if (verb === 'udp') await udp(host, Number(first), Number(second), Number(third) || UDP_PORT)
  else if (verb === 'http') await http(host, Number(first) || HTTP_PORT)
  else if (verb === 'servers') {
    await servers(host, Number(first), Number(second), Number(third))
  } else
    throw new Error(
      'traffic: serve NAME | upload HOST BYTES MIB/S | download HOST BYTES | udp HOST COUNT BYTES [PORT] | http HOST [PORT] | servers HOST PORT FIRST COUNT',
    )
}
