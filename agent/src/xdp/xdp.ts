// Connections to services past the stack: sb_xdp_uplink kept on every uplink that has an Ethernet header, and what is in the way.
import type { Datapath } from '../datapath/datapath.ts'
import type { Uplinks } from '../overlay/uplinks.ts'
import type { Jobs } from '../runtime/jobs.ts'
import { Reconciler, type ReconcilerOptions } from '../state/reconcile.ts'
import type { RowStatus } from '../state/row-status.ts'
import { type XdpActual, type XdpRow, XdpTarget, type XdpTargetDeps } from './target.ts'

export interface XdpDeps
  extends XdpTargetDeps,
    Pick<ReconcilerOptions<XdpRow, XdpActual>, 'clock' | 'health' | 'log' | 'refreshMs'> {
  readonly datapath: XdpTargetDeps['datapath'] & Pick<Datapath, 'xdpMode'>
  readonly uplinks: Uplinks
}

export class Xdp {
  readonly #deps: XdpDeps
  /** With XDP off there is nothing to do, or to wait for: Datapath.open() took off what was there. */
  readonly #reconciler: Reconciler<XdpRow, XdpActual> | undefined

  constructor(deps: XdpDeps) {
    this.#deps = deps
    const { uplinks } = deps
    if (deps.datapath.xdpMode === 'off') return
    this.#reconciler = new Reconciler({
      ...deps,
      target: new XdpTarget(deps),
      desired: () =>
        uplinks.state.uplinks
          .filter(({ isL3 }) => !isL3)
          .map(({ name, index }) => ({ name, index })),
      sources: [uplinks],
    })
  }

  start(jobs: Jobs): void {
    const reconciler = this.#reconciler
    if (reconciler !== undefined) jobs.start('xdp', (signal) => reconciler.run(signal))
  }

  statuses(): RowStatus[] {
    return this.#reconciler?.statuses() ?? []
  }

  /** For people. */
  describe(): string {
    const { xdpMode } = this.#deps.datapath
    if (xdpMode === 'off') return 'off'
    const on = this.statuses().filter(({ state }) => state === 'done')
    return `${xdpMode} on ${on.map(({ key }) => key).join(', ') || 'no uplink'}`
  }

  problems(): string[] {
    return this.statuses().flatMap(({ message }) => (message === undefined ? [] : [message]))
  }
}
