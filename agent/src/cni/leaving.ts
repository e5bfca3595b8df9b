// A node that is being taken off while pods are on it: no new ADD, and the last DEL takes away the files that make the runtime call us.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { codes } from '@sinabro/cni/wire'
import type { Log } from '../runtime/log.ts'
import { writeWhole } from '../runtime/whole-file.ts'
import { CniError } from './error.ts'
import { type InstallOptions, uninstallFiles } from './install.ts'

/** POST: answers with how many attachments are left. */
export const LEAVE_PATH = '/v1/leave'
/** In the state folder, so that an agent that starts again goes on leaving. */
export const LEAVING_FILE = 'leaving'

export interface LeavingDeps {
  readonly stateDir: string
  readonly install: Pick<InstallOptions, 'confDir' | 'binDir'>
  /** How many attachments are left. */
  attachments(): number
  readonly log: Log
}

export class Leaving {
  readonly #deps: LeavingDeps
  #isLeaving: boolean

  constructor(deps: LeavingDeps) {
    this.#deps = deps
    this.#isLeaving = existsSync(join(deps.stateDir, LEAVING_FILE))
  }

  get isLeaving(): boolean {
    return this.#isLeaving
  }

  /** From now on, and over restarts. Says how many attachments the files still wait for. */
  async leave(): Promise<number> {
    const { stateDir, attachments, log } = this.#deps
    const bytes = Buffer.from(
      'This node takes no new pods. Remove this file and restart the agent to undo it.\n',
    )
    await writeWhole({ folder: stateDir, name: LEAVING_FILE, bytes, mode: 0o600 })
    this.#isLeaving = true
    log.warn({ attachments: attachments() }, 'leaving this node: no new pods')
    await this.afterRemoval()
    return attachments()
  }

  /** containerd cannot stop a pod without a configuration, so both files stay as long as there is one. */
  async afterRemoval(): Promise<void> {
    const { attachments, install, log } = this.#deps
    if (!this.#isLeaving || attachments() > 0) return
    const removed = await uninstallFiles(install)
    if (removed.length > 0) log.warn({ removed }, 'the last attachment is gone; so are these')
  }

  /** @throws CniError 11, so that the kubelet asks again until another network is there */
  refuseAdd(): void {
    if (!this.#isLeaving) return
    const message = 'this node is being taken off the network (sinabro uninstall --force)'
    throw new CniError(codes.tryAgainLater, message)
  }

  /** @throws CniError 50 */
  refuseStatus(): void {
    if (!this.#isLeaving) return
    throw new CniError(codes.notAvailable, 'this node is being taken off the network')
  }
}
