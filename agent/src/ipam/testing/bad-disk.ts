// A program for the disk tests: in a mount namespace of its own it fills or locks the state folder's disk and prints what Ipam says.
import { execFileSync } from 'node:child_process'
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../runtime/clock.ts'
import { codeOf, silentLog } from '../../runtime/log.ts'
import { Ipam } from '../ipam.ts'

const [mountPoint = ''] = process.argv.slice(2)
const dir = join(mountPoint, 'state')
execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', mountPoint])
const filler = join(mountPoint, 'filler')

const fill = (): void => {
  const { bavail, bsize } = statfsSync(mountPoint)
  writeFileSync(filler, Buffer.alloc(bavail * bsize))
}
const remount = (mode: 'ro' | 'rw'): void => {
  execFileSync('mount', ['-o', `remount,${mode}`, mountPoint])
}
const open = async (): Promise<Ipam> => {
  const ipam = await Ipam.open({ dir, clock: systemClock, log: silentLog })
  ipam.setRanges(['10.244.1.0/24', 'fd00:1::/64'])
  return ipam
}
const keyOf = (containerId: string) => ({ network: 'n', containerId, ifname: 'eth0' })
const said: string[] = []
const tell = async (
  what: string,
  run: () => Promise<{ addresses: readonly string[] } | undefined>,
) => {
  try {
    said.push(`${what}: ${(await run())?.addresses.join(' ') ?? 'nothing'}`)
  } catch (error) {
    said.push(`${what}: ${codeOf(error) ?? String(error)}`)
  }
}
const allocate = (ipam: Ipam, id: string) =>
  tell(`allocate ${id}`, () => ipam.allocate({ key: keyOf(id), netns: '/x' }))
const release = (ipam: Ipam, id: string) => tell(`release ${id}`, () => ipam.release(keyOf(id)))

const ipam = await open()
await allocate(ipam, 'a')
fill()
await allocate(ipam, 'b')
await allocate(ipam, 'b')
said.push(
  `used: ${ipam
    .usage()
    .map(({ used }) => used)
    .join(' ')}`,
)
await release(ipam, 'a')
rmSync(filler)
await allocate(ipam, 'b')
remount('ro')
await allocate(ipam, 'c')
await release(ipam, 'b')
said.push(
  `used: ${ipam
    .usage()
    .map(({ used }) => used)
    .join(' ')}`,
)
await allocate(ipam, 'b')
await tell('open', async () => {
  await open()
  return undefined
})
remount('rw')
await allocate(ipam, 'c')
const again = await open()
const left = again.list().map(({ addresses }) => addresses.join(' '))
said.push(`after a restart: ${left.sort().join(', ')}`)
console.log(said.join('\n'))
