// The programs that other kernels need, and the packages they come in: found before anything is begun.
import { existsSync } from 'node:fs'
import { join } from 'node:path'

const PROGRAMS = {
  'qemu-system-x86_64': 'qemu-system-x86',
  busybox: 'busybox-static',
  cpio: 'cpio',
  modprobe: 'kmod',
  depmod: 'kmod',
  xz: 'xz-utils',
  setpriv: 'util-linux',
  'apt-get': 'apt',
} as const

/** One line that says what to install; none when all is there. */
export function missingPrograms(path = process.env.PATH ?? ''): string[] {
  const folders = path.split(':')
  const isThere = (name: string) => folders.some((folder) => existsSync(join(folder, name)))
  const missing = Object.entries(PROGRAMS).filter(([name]) => !isThere(name))
  if (missing.length === 0) return []
  const names = missing.map(([name]) => name).join(', ')
  const packages = [...new Set(missing.map(([, one]) => one))].join(' ')
  return [`not found: ${names}; install with: apt-get install --no-install-recommends ${packages}`]
}
