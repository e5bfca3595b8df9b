// Namespaces: sockets and sysctls of one are not those of another, and this process never leaves its own.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { inside, skipReason, testNamespace, testNetlink } from '../testing/namespace.ts'
import { NetlinkError, NetworkNamespace } from './index.ts'
import { addonPath, native } from './native.ts'

const EPERM = 1
const EPROTONOSUPPORT = 93
const NO_PROTOCOL = 9999

describe.skipIf(skipReason)('NetworkNamespace', () => {
  test('create() makes one with only a loopback device', async () => {
    const netns = testNamespace()
    const links = await testNetlink(netns).links.list()
    expect(links.map(({ name, isUp }) => ({ name, isUp }))).toEqual([{ name: 'lo', isUp: false }])
    const current = NetworkNamespace.current()
    onTestFinished(() => current.close())
    expect(netns.isSame(current)).toBe(false)
    expect(current.isSame(current)).toBe(true)
  })

  test('cookie() differs from every other and stays the same', () => {
    const first = testNamespace()
    const second = testNamespace()
    expect(first.cookie()).not.toBe(second.cookie())
    expect(first.cookie()).toBe(first.cookie())
    expect(first.cookie()).toBeGreaterThan(0n)
  })

  test('writeFile() and readFile() reach its own sysctls, and not ours', () => {
    const path = '/proc/sys/net/ipv4/conf/all/arp_announce'
    const netns = testNamespace()
    const other = testNamespace()
    netns.writeFile(path, '2')
    expect(netns.readFile(path)).toBe('2\n')
    expect(inside(netns, 'cat', path)).toBe('2\n')
    expect(other.readFile(path)).toBe('0\n')
  })

  test('a sysctl that refuses a value or is not there says so', () => {
    const netns = testNamespace()
    const path = '/proc/sys/net/ipv4/ip_forward'
    expect(() => netns.writeFile(path, 'no')).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(() => netns.readFile('/proc/sys/net/none')).toThrow(
      expect.objectContaining({ code: 'ENOENT', op: 'open /proc/sys/net/none' }),
    )
  })

  test('the thread is at home again, whatever became of it', () => {
    const here = () => readlinkSync('/proc/thread-self/ns/net')
    const home = here()
    const netns = testNamespace()
    expect(here()).toBe(home)
    netns.cookie()
    expect(here()).toBe(home)
    netns.readFile('/proc/sys/net/ipv4/ip_forward')
    expect(here()).toBe(home)
    expect(() => netns.readFile('/proc/sys/net/none')).toThrow()
    expect(here()).toBe(home)
    expect(native().open(NO_PROTOCOL, netns.fd)).toBe(-EPROTONOSUPPORT)
    expect(here()).toBe(home)
  })

  test('open() refuses what is not a network namespace, and does not wait for a FIFO', () => {
    const dir = mkdtempSync(join(tmpdir(), 'netns-'))
    onTestFinished(() => rmSync(dir, { recursive: true }))
    const file = join(dir, 'file')
    const fifo = join(dir, 'fifo')
    writeFileSync(file, '')
    execFileSync('mkfifo', [fifo])
    const code = (path: string) => {
      try {
        NetworkNamespace.open(path).close()
      } catch (error) {
        return error instanceof NetlinkError ? error.code : error
      }
      return 'opened'
    }
    expect(code(join(dir, 'none'))).toBe('ENOENT')
    expect(code(file)).toBe('ENOTTY')
    expect(code(fifo)).toBe('ENOTTY')
    expect(code(dir)).toBe('ENOTTY')
    expect(code('/proc/self/ns/uts')).toBe('EINVAL')
    expect(code('/proc/self/ns/net')).toBe('opened')
  })

  test('who could not return does not leave', () => {
    // Root of a user namespace that owns no network namespace.
    const program = `const it = { exports: {} }
      process.dlopen(it, process.argv[1])
      console.log(it.exports.createNamespace(), it.exports.open(0, -1) >= 0)`
    const argv = ['--user', '--map-root-user', process.execPath, '-e', program, addonPath()]
    expect(execFileSync('unshare', argv, { encoding: 'utf8' })).toBe(`${-EPERM} true\n`)
  })

  test('close() may be repeated; what comes after is EBADF', () => {
    const netns = NetworkNamespace.create()
    netns.close()
    netns.close()
    expect(() => netns.cookie()).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(() => netns.fd).toThrow(expect.objectContaining({ code: 'EBADF' }))
  })

  test('a socket outlives the handle it was opened with', async () => {
    const netns = NetworkNamespace.create()
    const netlink = testNetlink(netns)
    netns.close()
    expect(await netlink.links.list()).toHaveLength(1)
  })
})
