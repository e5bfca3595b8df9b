// When and where an attachment was made: a boot and a network namespace of the node. Another one of either is a reboot to its pods.
import { readFileSync } from 'node:fs'

export interface Era {
  /** /proc/sys/kernel/random/boot_id */
  readonly bootId: string
  /** SO_NETNS_COOKIE of the node's network namespace: never used twice within one boot. */
  readonly hostCookie: string
}

export function readEra(hostNamespace: { cookie(): bigint }): Era {
  return { bootId: readBootId(), hostCookie: String(hostNamespace.cookie()) }
}

export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
}

/**
 * CLOCK_BOOTTIME in microseconds, as sequences count it; some milliseconds early (the file has hundredths of a second), which is the
 * safe side for a removal.
 */
export function readBootTimeUs(): number {
  const [seconds = ''] = readFileSync('/proc/uptime', 'utf8').split(' ')
  return Math.floor(Number(seconds) * 1_000_000)
}

/** Undefined: of an earlier version, which did not write it down; taken for the present one. */
export function isOtherEra(era: Era | undefined, now: Era): boolean {
  return era !== undefined && (era.bootId !== now.bootId || era.hostCookie !== now.hostCookie)
}
