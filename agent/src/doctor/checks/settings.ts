// Kernel settings that keep packets from being passed on: forwarding, reverse-path filter, bridges that hand everything to iptables.
import type { Check, Finding } from '../finding.ts'
import type { World } from '../world.ts'

export const forwarding: Check<World> = {
  name: 'forwarding',
  async run(world) {
    const agent = await world.agent()
    const ranges = 'error' in agent ? [] : agent.status.ranges.map(({ range }) => range)
    const has = (isFamily: (range: string) => boolean): boolean =>
      ranges.length === 0 || ranges.some(isFamily)
    const findings: Finding[] = []
    for (const [name, isWanted] of [
      ['ipv4', has((range) => !range.includes(':'))],
      ['ipv6', has((range) => range.includes(':'))],
    ] as const) {
      const setting = `${name}/conf/all/forwarding`
      if (!isWanted || world.settings.read(setting) !== '0') continue
      findings.push({
        level: 'error',
        found: `net.${setting.replaceAll('/', '.')} is 0`,
        means:
          'the kernel drops what it should pass on: pods reach neither the outside nor services. The agent turns it on; if it is running, something turns it off again',
        do: `sysctl -w net.${setting.replaceAll('/', '.')}=1, and look in /etc/sysctl.d for what sets it to 0`,
      })
    }
    return findings
  },
}

/** The kernel takes the larger of `all` and the device's own, so a device cannot be exempt while `all` is strict. */
export const reversePath: Check<World> = {
  name: 'reverse path',
  async run({ settings, netlink }) {
    const all = Number(settings.read('ipv4/conf/all/rp_filter') ?? 0)
    const findings: Finding[] = []
    if (all === 1) {
      findings.push({
        level: 'warning',
        found: 'net.ipv4.conf.all.rp_filter is 1, which makes every device strict',
        means:
          'a packet is dropped when its answer would leave by another device: nodes with several uplinks lose connections, and our own devices cannot be exempt',
        do: 'sysctl -w net.ipv4.conf.all.rp_filter=0 (or 2), and look in /etc/sysctl.d for what sets it; the devices keep their own settings',
      })
    }
    for (const { name, alias } of await netlink.links.list()) {
      if (alias?.startsWith('sinabro:') !== true) continue
      if (settings.read(`ipv4/conf/${name}/rp_filter`) !== '1') continue
      findings.push({
        level: 'warning',
        found: `net.ipv4.conf.${name}.rp_filter is 1, on a device of ours`,
        means: 'someone set it after the agent did: packets that come by another way are dropped',
        do: `sysctl -w net.ipv4.conf.${name}.rp_filter=0; usually a rule for all new devices in /etc/sysctl.d or udev did it`,
      })
    }
    return findings
  },
}
