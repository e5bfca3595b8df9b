// What the benchmark makes of plug-ins' configurations and of the caller's figures.
import { expect, test } from 'vitest'
import { ownPlugin, parseTiming } from './plugins.ts'

test('parseTiming() reads nanoseconds as milliseconds', () => {
  expect(parseTiming('1500000\n2000000\ntotal 3600000\n')).toEqual({ each: [1.5, 2], total: 3.6 })
})

test('parseTiming() refuses what is cut or not a figure', () => {
  expect(() => parseTiming('1500000\n')).toThrow('plugin-caller said')
  expect(() => parseTiming('-1\ntotal 3\n')).toThrow('plugin-caller said')
})

test('ownPlugin() gives the plug-in its own object with name and version of the list', () => {
  const plugin = { type: 'sinabro-cni', socket: '/s' }
  const list = { cniVersion: '1.0.0', name: 'sinabro', plugins: [plugin] }
  expect(ownPlugin(list).config).toEqual({ ...plugin, cniVersion: '1.0.0', name: 'sinabro' })
})
