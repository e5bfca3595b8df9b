// A node that is left while pods are on it: they keep their network, no new one comes, and with the last go the runtime's files.
import { afterEach, expect, test } from 'vitest'
import { eventually, type Lab, TREE } from '../lab/index.ts'
import { raise } from './stage.ts'

let lab: Lab | undefined

afterEach(() => lab?.down())

test('sinabro uninstall --force beside an agent takes no new pods; conflist and executable go with the last one', async () => {
  lab = await raise('leaving', { nodes: 1 })
  const node = lab.node(1)
  const runtimeFiles = async (): Promise<string> =>
    (await node.exec(['find', '/etc/cni/net.d', '/opt/cni/bin', '-name', '*sinabro*'])).stdout
  const pods = [await node.addPod('one'), await node.addPod('two')]
  const { stdout } = await node.exec([
    ...[process.execPath, `${TREE}/agent/src/main.ts`, 'uninstall', '--force', '-o', 'json'],
  ])
  expect(JSON.parse(stdout)).toEqual({ attachments: 2 })
  await expect(node.addPod('three')).rejects.toThrow(/taken off the network/)
  await pods[0]?.remove()
  await node.agent.kill('SIGKILL')
  await node.agent.start()
  await expect(node.addPod('four')).rejects.toThrow(/taken off the network/)
  expect(await runtimeFiles()).toContain('05-sinabro.conflist')
  await pods[1]?.remove()
  await eventually(
    'the files to go',
    async () => (await runtimeFiles()) === '' || undefined,
    10_000,
  )
  await node.agent.kill('SIGTERM')
  await node.exec([process.execPath, `${TREE}/agent/src/main.ts`, 'uninstall'])
})
