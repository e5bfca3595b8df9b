// Runs inside pods: a server that says who it sees, and clients that hold many connections and ask over each when told to.
// `node who.ts hold tcp|udp HOST`, then `open COUNT PORT`, `ask BYTES`, `close` or `reset` on stdin; `node who.ts short HOST COUNT PORT`
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

export const WHO_PORT = 5003

/** Where the server sees a packet come from. */
export interface Seen {
  readonly address: string
  readonly port: number
}

/** What `open` prints: who each new connection is seen as; null for one that failed. */
export type Opened = readonly (Seen | null)[]

/** What `short` prints. */
export interface ShortReport {
  readonly done: number
  readonly failed: number
}

interface Held {
  /** Null when no answer comes. Of UDP by a datagram of so many bytes. */
  ask(bytes?: number): Promise<Seen | null>
  close(): void
  /** Without a farewell where there is one. */
  reset(): void
}

const ANSWER_WAIT_MS = 1500 * Number(process.env.SINABRO_SLOWNESS ?? 1)

/** Of short connections: time to send a SYN three times, for a port that the far end has not done with is answered so. */
const PATIENT_WAIT_MS = 4 * ANSWER_WAIT_MS

const seen = (address: string | undefined, port: number | undefined): string =>
  `${JSON.stringify({ address: address?.replace(/^::ffff:/, ''), port })}\n`

export async function serveWho(): Promise<void> {
  const tcp = createServer((socket) => {
    const { remoteAddress, remotePort } = socket
    socket.on('data', () => socket.write(seen(remoteAddress, remotePort)))
    socket.on('error', () => undefined)
  })
  const udp = createSocket({ type: 'udp6' })
  // As long as the question, for those who ask whether such a one gets there and back.
  udp.on('message', (asked, from) => {
    const answer = seen(from.address, from.port).padEnd(asked.length)
    udp.send(answer, from.port, from.address)
  })
  udp.bind(WHO_PORT, '::')
  tcp.listen({ port: WHO_PORT, host: '::', backlog: 4096 })
  await Promise.all([once(tcp, 'listening'), once(udp, 'listening')])
}

function inTime<T>(answer: Promise<T>, waitMs = ANSWER_WAIT_MS): Promise<T | null> {
  return Promise.race([answer, sleep(waitMs, null, { ref: false })])
}

async function dial(host: string, localPort: number, waitMs?: number): Promise<Socket | null> {
  const socket = connect({ host, port: WHO_PORT, localPort, noDelay: true })
  const isOpen = await inTime(
    once(socket, 'connect').catch(() => null),
    waitMs,
  )
  // From here on an error shows as a connection that does not answer.
  socket.on('error', () => undefined)
  if (isOpen !== null) return socket
  socket.destroy()
  return null
}

async function askOver(socket: Socket): Promise<Seen | null> {
  if (socket.destroyed || !socket.writable) return null
  socket.write('?\n')
  const data = once(socket, 'data')
  const end = once(socket, 'close').then(() => null)
  const answer = await inTime(Promise.race([data, end]).catch(() => null))
  return answer === null ? null : lastOf(String(answer[0]))
}

/** An answer that came too late for an earlier question is before it. */
function lastOf(lines: string): Seen {
  return JSON.parse(lines.trimEnd().split('\n').at(-1) ?? '')
}

async function holdTcp(host: string, localPort: number): Promise<Held | null> {
  const socket = await dial(host, localPort)
  if (socket === null) return null
  return {
    ask: () => askOver(socket),
    close: () => void socket.end(),
    reset: () => void socket.resetAndDestroy(),
  }
}

async function holdUdp(host: string, localPort: number): Promise<Held | null> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  socket.on('error', () => undefined)
  socket.bind(localPort)
  const isBound = await once(socket, 'listening').catch(() => null)
  if (isBound === null) return null
  const close = (): void => void socket.close()
  return {
    ask: async (bytes = 1) => {
      const answer = once(socket, 'message').catch(() => null)
      socket.send('?'.padEnd(bytes), WHO_PORT, host)
      const said = await inTime(answer)
      return said === null ? null : lastOf(String(said[0]))
    },
    close,
    reset: close,
  }
}

async function hold(protocol: string, host: string): Promise<void> {
  const held: Held[] = []
  const openOne = async (localPort: number): Promise<Seen | null> => {
    const one = await (protocol === 'udp' ? holdUdp : holdTcp)(host, localPort)
    const answer = (await one?.ask()) ?? null
    if (one !== null && answer !== null) held.push(one)
    else one?.reset()
    return answer
  }
  for await (const line of createInterface({ input: process.stdin })) {
    const [verb, count = '1', port = '0'] = line.split(' ')
    let said: unknown = null
    if (verb === 'open') {
      const ports = Array.from(
        { length: Number(count) },
        (_, i) => Number(port) && Number(port) + i,
      )
      said = await Promise.all(ports.map(openOne))
    } else if (verb === 'ask') {
      said = await Promise.all(held.map((one) => one.ask(Number(count))))
    } else for (const one of held.splice(0)) verb === 'close' ? one.close() : one.reset()
    console.log(JSON.stringify(said))
  }
  process.exit()
}

/** One connection after the other: opened, asked over, closed by this end first. With a port always from that one on. */
async function short(host: string, count: number, port: number): Promise<void> {
  let done = 0
  for (let number = 0; number < count; number++) {
    const socket = await dial(host, port && port + number, PATIENT_WAIT_MS)
    if (socket === null) continue
    if ((await askOver(socket)) !== null) done++
    const isClosed = once(socket, 'close').catch(() => null)
    socket.end()
    await isClosed
  }
  console.log(JSON.stringify({ done, failed: count - done } satisfies ShortReport))
}

if (import.meta.main) {
  const [verb = '', first = '', second = '', third = '0'] = process.argv.slice(2)
  if (verb === 'hold') await hold(first, second)
  else if (verb === 'short') await short(first, Number(second), Number(third))
  else throw new Error('who: hold tcp|udp HOST | short HOST COUNT PORT')
}
