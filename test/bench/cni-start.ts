// How long the CNI executable takes to start and answer, beside a static C program that does nothing.
import { join } from 'node:path'
import { run } from '../lab/command.ts'
import { TREE } from '../lab/index.ts'
import type { Bench } from './bench.ts'
import { compile } from './compile.ts'
import { type Plugin, PluginCaller } from './plugins.ts'
import { compare, median } from './row.ts'

const CALLS = 40

export const cniStart: Bench = {
  name: 'cni-start',
  async run({ runs, dir }) {
    const caller = new PluginCaller({ exec: run }, await compile('plugin-caller', dir), dir)
    const config = { cniVersion: '1.0.0', name: 'bench', type: 'sinabro-cni' }
    const ours = { name: 'sinabro', program: join(TREE, 'cni/build/sinabro-cni'), config }
    const program = await compile('static-program', dir, ['-static'])
    const nothing = { name: 'static C program', program, config }
    const side = (plugin: Plugin) => ({
      name: plugin.name,
      async measure() {
        const calls = Array.from({ length: CALLS }, () => ({ containerId: 'c', netns: '/n' }))
        return { 'VERSION p50': median((await caller.call('VERSION', plugin, calls)).each) }
      },
    })
    return await compare(
      'cni-start',
      { 'VERSION p50': { unit: 'ms', better: 'lower' } },
      { ours: side(ours), peer: side(nothing) },
      runs,
    )
  },
}
