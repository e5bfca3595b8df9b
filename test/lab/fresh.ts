// Runs inside pods: new connections all the time, one after the other to each target, and a line about each, until its input ends.
// `node fresh.ts ADDRESS,PORT …`
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** Time to send a SYN three times. */
const WAIT_MS = 6000 * Number(process.env.SINABRO_SLOWNESS ?? 1)
/** Leaves the machine to others as well. */
const PAUSE_MS = 10

/** Opened, asked over as who.ts serves, and closed: what was in the way, if anything was. */
function connectOnce(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, noDelay: true })
    const finish = (trouble?: string): void => {
      resolve(trouble) // the first counts
      socket.destroy()
    }
    socket.setTimeout(WAIT_MS, () => finish('no answer'))
    socket.on('error', ({ message }) => finish(message))
    socket.on('connect', () => socket.write('?\n'))
    socket.on('data', () => finish())
    socket.on('close', () => finish('closed without an answer'))
  })
}

async function ask(number: number, host: string, port: number): Promise<never> {
  for (;;) {
    const trouble = await connectOnce(host, port)
    console.log(`${number} ${trouble ?? 'ok'}`)
    await sleep(PAUSE_MS)
  }
}

process.stdin.resume().on('end', () => process.exit())
const targets = process.argv.slice(2).map((target) => target.split(','))
await Promise.all(targets.map(([host = '', port], number) => ask(number, host, Number(port))))
