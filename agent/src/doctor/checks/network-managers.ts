// Whether NetworkManager or systemd-networkd take our devices for theirs, or remove our routes.
import { basename, join } from 'node:path'
import type { Check, Finding } from '../finding.ts'
import type { World } from '../world.ts'

export const networkManager: Check<World> = {
  name: 'NetworkManager',
  run(world) {
    if (world.folder('/run/NetworkManager') === undefined) return []
    const patterns = readFiles(world, NETWORK_MANAGER_DIRS, '.conf').flatMap(({ text }) =>
      readUnmanaged(text),
    )
    if (patterns.some(coversOurs)) return []
    return [
      {
        level: 'warning',
        found:
          'NetworkManager runs, and no unmanaged-devices of its configuration names our devices',
        means: 'it may take new devices for its own, and give them addresses or take ours away',
        do: 'write [keyfile] and unmanaged-devices=interface-name:sb* to /etc/NetworkManager/conf.d/sinabro.conf, then: nmcli general reload',
      },
    ]
  },
}

const NETWORK_MANAGER_DIRS = [
  '/usr/lib/NetworkManager/conf.d',
  '/run/NetworkManager/conf.d',
  '/etc/NetworkManager',
  '/etc/NetworkManager/conf.d',
]

/** Pure. */
export function readUnmanaged(text: string): string[] {
  return text
    .split('\n')
    .map((line) => /^\s*unmanaged-devices\s*\+?=\s*(.*)$/.exec(line)?.[1])
    .flatMap((value) => value?.split(/[;,]/) ?? [])
    .map((one) => one.trim())
    .filter((one) => one !== '')
}

function coversOurs(pattern: string): boolean {
  return ['interface-name:sb*', 'interface-name:*', '*', 'type:veth'].includes(pattern)
}

export const networkd: Check<World> = {
  name: 'systemd-networkd',
  async run(world) {
    if (world.folder('/run/systemd/netif/links') === undefined) return []
    const findings: Finding[] = []
    for (const { name, index, alias } of await world.netlink.links.list()) {
      if (alias?.startsWith('sinabro:') !== true) continue
      const state = world.file(join('/run/systemd/netif/links', String(index))) ?? ''
      const [, file] = /^NETWORK_FILE=(.+)$/m.exec(state) ?? []
      if (file === undefined) continue
      findings.push({
        level: 'error',
        found: `networkd manages our device ${name} by ${file}`,
        means: 'it removes addresses and routes that it did not make, now or when it restarts',
        do: `narrow [Match] of ${basename(file)}, or before it in name: a file with Name=sb* and [Link] Unmanaged=yes`,
      })
    }
    const conf = readFiles(world, NETWORKD_DIRS, '.conf').map(({ text }) => text)
    if (!conf.some((text) => /^\s*ManageForeignRoutes\s*=\s*(no|false|0|off)\s*$/im.test(text))) {
      findings.push({
        level: 'warning',
        found: 'networkd runs with ManageForeignRoutes=yes, its default',
        means:
          'when it restarts it removes routes that it does not know, ours too; the agent puts them back when it hears of it',
        do: 'write [Network] and ManageForeignRoutes=no to /etc/systemd/networkd.conf.d/sinabro.conf',
      })
    }
    return findings
  },
}

const NETWORKD_DIRS = [
  '/usr/lib/systemd/networkd.conf.d',
  '/run/systemd/networkd.conf.d',
  '/etc/systemd',
  '/etc/systemd/networkd.conf.d',
]

function readFiles(world: World, folders: readonly string[], ending: string) {
  return folders.flatMap((folder) =>
    (world.folder(folder) ?? [])
      .filter((name) => name.endsWith(ending))
      // Of /etc/systemd only networkd's own.
      .filter((name) => folder !== '/etc/systemd' || name === 'networkd.conf')
      .map((name) => ({ name, text: world.file(join(folder, name)) ?? '' })),
  )
}
