// The demo's service: three backends on two nodes, of which one leaves and is killed while others connect.
import { shortConnections } from './conversation.ts'
import type { Lab } from './lab.ts'
import type { Pod } from './pod.ts'
import { withProgress } from './progress.ts'
import { serviceObjects } from './service-objects.ts'
import { HTTP_PORT } from './traffic.ts'
import { type ShortReport, WHO_PORT } from './who.ts'

export const SERVICE_RANGES = '10.96.0.0/16,fd00:10:96::/112'
const SERVICE = ['10.96.0.80', 'fd00:10:96::80']
/** So many that each of three backends is asked. */
const BURST = 30
/** New connections one after the other, again and again while a backend goes. */
const AT_A_TIME = 200

/** The last of the backends is told to end, leaves the list, and is killed; new connections all the while. */
export async function showService(
  lab: Lab,
  from: Pod,
  backends: readonly Pod[],
  check: (isGood: boolean, text: string) => void,
): Promise<void> {
  const write = (pods: readonly Pod[]): void => {
    const endpoints = pods.map(({ addresses, machine }) => ({ addresses, nodeName: machine.name }))
    const ports = [
      { name: 'web', port: 80, targetPort: HTTP_PORT },
      { name: 'who', port: WHO_PORT, targetPort: WHO_PORT },
    ]
    const objects = serviceObjects('demo', { clusterIPs: SERVICE, ports, endpoints })
    for (const object of objects) lab.manifests.write(object)
  }
  write(backends)
  for (const address of SERVICE) {
    const heard = await heardUntil(from, address, (names) => names.size === backends.length)
    check(heard.size === backends.length, `${from.name} → ${address}  ${described(heard)}`)
  }
  const last = backends.at(-1)
  if (last === undefined) throw new Error('unreachable')
  let isKilled = false
  const connect = async (address: string): Promise<ShortReport> => {
    const sum = { done: 0, failed: 0 }
    do {
      const { done, failed } = await shortConnections(from, address, AT_A_TIME)
      sum.done += done
      sum.failed += failed
    } while (!isKilled)
    return sum
  }
  const steady = Promise.all(SERVICE.map(connect))
  steady.catch(() => undefined) // who waits for it hears of it
  write(backends.slice(0, -1))
  for (const address of SERVICE) {
    const heard = await heardUntil(from, address, (names) => !names.has(last.name))
    check(!heard.has(last.name), `${last.name} left the list  ${address}  ${described(heard)}`)
  }
  await last.stop()
  isKilled = true
  const reports = await withProgress('connections', steady)
  const done = reports.reduce((sum, report) => sum + report.done, 0)
  const failed = reports.reduce((sum, report) => sum + report.failed, 0)
  check(failed === 0, `${last.name} killed: ${done} new connections meanwhile, ${failed} lost`)
}

type Heard = ReadonlyMap<string, number>

/** Who answers how many of a burst of connections; the first burst of some that is as wished, or the last. */
async function heardUntil(
  from: Pod,
  address: string,
  isAsWished: (heard: Heard) => boolean,
): Promise<Heard> {
  const url = `http://${address.includes(':') ? `[${address}]` : address}/`
  const script = 'for i in $(seq "$1"); do curl -sg -m 1 "$0"; echo; done'
  for (let tries = 0; ; tries++) {
    const argv = ['sh', '-c', script, url, String(BURST)]
    const { stdout } = await from.exec(argv)
    const heard = new Map<string, number>()
    for (const [, name = ''] of stdout.matchAll(/"server":"(\w+)"/g)) {
      heard.set(name, (heard.get(name) ?? 0) + 1)
    }
    if (isAsWished(heard) || tries === 10) return heard
  }
}

function described(heard: Heard): string {
  const names = [...heard].sort(([a], [b]) => a.localeCompare(b))
  return names.map(([name, count]) => `${name} ${count}`).join(', ') || 'nobody'
}
