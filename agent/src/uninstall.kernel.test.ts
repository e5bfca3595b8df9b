// Uninstalling on a real kernel: refused while pods are attached, complete when forced, blind to what is not ours.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { BpfObject, CgroupAttachment, listCgroup, objectPath } from '@sinabro/libbpf-ts'
import { TestCgroup } from '@sinabro/libbpf-ts/testing'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { installConflist, installExecutable } from './cni/install.ts'
import { pinPaths } from './datapath/load.ts'
import { createNft } from './masquerade/nft.ts'
import { type Agent, requestFor, Stage } from './pods/testing/stage.ts'
import { lockDirectory } from './runtime/lock.ts'
import { type UninstallOptions, uninstall } from './uninstall.ts'

let stage: Stage
let folder: string
let options: UninstallOptions
let agent: Agent

const kernel = () => ({
  netns: stage.node,
  nft: createNft(['nsenter', `--net=/proc/${process.pid}/fd/${stage.node.fd}`]),
})

/** On the node. */
function nft(words: string): string {
  const net = `--net=/proc/${process.pid}/fd/${stage.node.fd}`
  return execFileSync('nsenter', [net, 'nft', ...words.split(' ')], { encoding: 'utf8' })
}

beforeEach(async () => {
  stage = new Stage()
  folder = mkdtempSync(join(tmpdir(), 'sinabro-uninstall-'))
  const at = (name: string) => join(folder, name)
  options = {
    stateDir: at('state'),
    runDir: at('run'),
    bpfDir: stage.bpfDir,
    cniConfDir: at('net.d'),
    cniBinDir: at('bin'),
    isForced: false,
  }
  mkdirSync(options.stateDir)
  mkdirSync(options.runDir)
  agent = await stage.start({ stateDir: options.stateDir })
  writeFileSync(at('built'), 'x')
  const install = {
    socket: join(options.runDir, 'agent.sock'),
    stateDir: options.stateDir,
    confDir: options.cniConfDir,
    binDir: options.cniBinDir,
    executable: at('built'),
  }
  await installExecutable(install)
  await installConflist(install)
})

afterEach(() => {
  stage.close()
  rmSync(folder, { recursive: true })
})

async function addPod(): Promise<string> {
  const { netns, path } = stage.namespace()
  const allocation = await agent.ipam.allocate(requestFor('web', path))
  await agent.pods.add(allocation, netns, new AbortController().signal)
  return allocation.hostDevice
}

test('uninstall() names what is attached and changes nothing', async () => {
  const device = await addPod()
  await agent.stop()
  await expect(uninstall(options, kernel())).rejects.toMatchObject({
    code: 'attachments',
    message: expect.stringContaining(`${device} (pod/`),
  })
  expect(await stage.netlink.links.get({ name: device })).toBeDefined()
  expect(readdirSync(options.cniConfDir)).toHaveLength(1)
})

test('uninstall() counts an allocation whose device is gone as attached', async () => {
  const device = await addPod()
  await agent.stop()
  await stage.netlink.links.del({ name: device })
  await expect(uninstall(options, kernel())).rejects.toMatchObject({
    message: expect.stringContaining('1 attachments are left: allocation '),
  })
})

test('uninstall() takes an allocation for gone whose removal waits for an agent', async () => {
  const device = await addPod()
  await agent.stop()
  await stage.netlink.links.del({ name: device })
  const queue = join(options.stateDir, 'queue')
  mkdirSync(queue, { recursive: true })
  writeFileSync(join(queue, 'a.json'), 'half')
  await expect(uninstall(options, kernel())).rejects.toMatchObject({ code: 'attachments' })
  const request = {
    cniVersion: '1.0.0',
    containerId: 'web',
    netns: '',
    ifname: 'eth0',
    args: '',
    path: '',
    config: { cniVersion: '1.0.0', name: 'sinabro', type: 'sinabro-cni' },
    sequence: { bootId: 'x', bootTimeUs: 1 },
  }
  writeFileSync(join(queue, 'b.json'), JSON.stringify({ format: 1, verb: 'DEL', request }))
  expect(await uninstall(options, kernel())).toContain(`${options.stateDir}/allocations`)
})

test('uninstall() forced takes away all of ours, nothing of others, and is fine again', async () => {
  await addPod()
  await agent.stop()
  writeFileSync(join(options.cniConfDir, '10-other.conflist'), '{}')
  writeFileSync(join(options.stateDir, 'notes.txt'), 'mine')
  await stage.netlink.links.add({ kind: 'bridge', name: 'sb0', isUp: true })
  nft('add table inet other')
  nft('add table inet sinabro')
  nft('add table inet sinabro-nat')
  const forced = { ...options, isForced: true }
  expect(await uninstall(forced, kernel())).toEqual(
    expect.arrayContaining([
      `${options.cniConfDir}/05-sinabro.conflist`,
      `${options.cniBinDir}/sinabro-cni`,
      expect.stringMatching(/^device sb[a-z2-7]{13}$/),
      'nftables table inet sinabro',
      'nftables table inet sinabro-nat',
      `${options.stateDir}/allocations`,
    ]),
  )
  expect(await uninstall(forced, kernel())).toEqual([])
  const links = (await stage.netlink.links.list()).map(({ name }) => name)
  expect(links.sort()).toEqual(['lo', 'sb0'])
  expect(await stage.netlink.routes.list({ protocol: 91 })).toEqual([])
  expect(readdirSync(options.cniConfDir)).toEqual(['10-other.conflist'])
  expect(readdirSync(options.cniBinDir)).toEqual([])
  expect(readdirSync(options.stateDir)).toEqual(['notes.txt'])
  expect(() => readdirSync(stage.bpfDir)).toThrow('ENOENT')
  expect(nft('list tables')).toBe('table inet other\n')
})

test('uninstall() takes programs off the sockets', async () => {
  await agent.stop()
  using cgroup = TestCgroup.open()
  const hook = 'connect4'
  const pinPath = join(pinPaths(stage.bpfDir).cgroup, hook)
  using object = BpfObject.open(objectPath('sockets'))
  await object.load()
  const place = { path: cgroup.path, hook, pinPath } as const
  mkdirSync(dirname(pinPath))
  await CgroupAttachment.attach({ ...place, program: object.program('sb_connect4') })
  expect(await uninstall(options, kernel())).toContain('programs on sockets')
  expect(listCgroup(place)).toEqual([])
})

test('uninstall() refuses while an agent works with the state folder', async () => {
  await agent.stop()
  const lock = await lockDirectory(options.stateDir)
  await expect(uninstall(options, kernel())).rejects.toMatchObject({ code: 'already-running' })
  await lock.release()
  expect(await uninstall(options, kernel())).not.toEqual([])
})
