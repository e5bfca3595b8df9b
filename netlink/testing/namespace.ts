// Namespaces for tests: made by the test, gone with its last descriptor, looked into with iproute2.
import { execFileSync } from 'node:child_process'
import { onTestFinished } from 'vitest'
import { NetworkNamespace, RouteNetlink } from '../src/index.ts'

/** Why kernel tests cannot run here; undefined where they can. */
export const skipReason: string | undefined =
  process.getuid?.() === 0 ? undefined : 'needs root: it makes network namespaces'

export function testNamespace(): NetworkNamespace {
  const netns = NetworkNamespace.create()
  onTestFinished(() => netns.close())
  return netns
}

export function testNetlink(netns: NetworkNamespace): RouteNetlink {
  const netlink = RouteNetlink.open({ netns })
  onTestFinished(() => netlink.close())
  return netlink
}

/** Runs a command as a process of that namespace. */
export function inside(netns: NetworkNamespace, ...command: readonly string[]): string {
  const path = `/proc/${process.pid}/fd/${netns.fd}`
  return execFileSync('nsenter', [`--net=${path}`, '--', ...command], { encoding: 'utf8' })
}

/** What `ip -j` says, for comparison. */
export function ipJson(netns: NetworkNamespace, ...args: readonly string[]): readonly IpObject[] {
  return JSON.parse(inside(netns, 'ip', '-j', ...args) || '[]') as IpObject[]
}

/** iproute2's own names for things. */
export type IpObject = Readonly<Record<string, unknown>>

/** Index of a new veth `name` whose other end is `peer0`, both up. */
export async function upVeth(netlink: RouteNetlink, name = 'veth0'): Promise<number> {
  await netlink.links.add({
    kind: 'veth',
    name,
    isUp: true,
    addrGenMode: 'none',
    peer: { name: `${name}p`, isUp: true },
  })
  const link = await netlink.links.get({ name })
  if (link === undefined) throw new Error(`${name} is not there after it was added`)
  return link.index
}
