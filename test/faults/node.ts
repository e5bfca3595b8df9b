// One node through fault rounds: brings it to the place of the fault, kills, starts again as a machine would, and looks at what is left.
import { setTimeout as sleep } from 'node:timers/promises'
import { CniFailure, eventually, LabError, type LabNode, Pod } from '../lab/index.ts'
import type { Fault } from './plan.ts'
import type { AgentPoint, ExecutablePoint } from './points.ts'
import { play } from './scenes.ts'
import { findFaults } from './verify.ts'

/** That stay, before and during a round. */
const LEAST_PODS = 2
const MOST_PODS = 3
/** An ADD that lost its agent does not wait ten seconds for the next one. */
const IMPATIENT = { plugin: { connectWaitMs: 100 } }
/** For what goes on behind an answer that was given. */
const REACHED_DEADLINE_MS = 2_000

/** A round that did not do what its name says. */
class NotReached extends Error {}

export class FaultNode {
  readonly #node: LabNode
  /** Path of kill-at on the node. */
  readonly #killAt: string
  readonly #pods: Pod[] = []
  #podCount = 0

  constructor(node: LabNode, killAt: string) {
    this.#node = node
    this.#killAt = killAt
  }

  async begin(): Promise<void> {
    this.#startAgent()
    await this.#node.agent.waitReady()
  }

  /** The node is as it should be before and after. What was wrong, in words; empty when all is right. */
  async round(fault: Fault): Promise<string[]> {
    try {
      while (this.#pods.length < LEAST_PODS)
        this.#pods.push(await this.#node.addPod(this.#nextName()))
      await this.#inject(fault)
    } catch (error) {
      if (!(error instanceof LabError || error instanceof NotReached)) throw error
      return [error.message]
    }
    return await findFaults(this.#node, this.#pods)
  }

  /** After a round that failed: everything of ours goes, so that the next round shows its own faults only. */
  async reset(): Promise<void> {
    await this.#node.agent.kill('SIGKILL')
    await this.#node.exec(['sinabro', 'uninstall', '--force'])
    for (const pod of this.#node.pods()) await pod.forget()
    this.#pods.length = 0
    await this.begin()
  }

  async #inject(fault: Fault): Promise<void> {
    if (fault.kind === 'executable') {
      const afterSec = (fault.afterMs / 1e3).toFixed(4)
      await this.#killExecutable(fault.verb, ['timeout', '-s', 'KILL', afterSec])
      return
    }
    if (fault.kind === 'agent') return await this.#killAgent(fault.afterMs, fault.startMs)
    const { point } = fault
    if (point.victim === 'agent') await this.#crashAgent(point)
    else await this.#crashExecutable(point)
  }

  async #killAgent(afterMs: number, startMs: number | undefined): Promise<void> {
    const { agent } = this.#node
    const work = this.#work()
    await sleep(afterMs)
    await agent.kill('SIGKILL')
    if (startMs !== undefined) {
      this.#startAgent()
      await sleep(startMs)
      await agent.kill('SIGKILL')
    }
    this.#startAgent()
    await agent.waitReady()
    await work
  }

  async #crashAgent({ name, scene }: AgentPoint): Promise<void> {
    const { agent } = this.#node
    await agent.kill('SIGKILL')
    const acts = await play(scene, {
      node: this.#node,
      pods: this.#pods,
      newPod: () => this.#newPod(),
      work: () => this.#work(),
    })
    this.#startAgent('--crash-at', name)
    if (await this.#isReadyBeforeItEnds()) await acts.act()
    const hasEnded = await eventually(
      `the agent to end at ${name}`,
      () => agent.pids().length === 0,
      REACHED_DEADLINE_MS,
    ).catch(() => false)
    await agent.kill('SIGKILL')
    await acts.tidy()
    this.#startAgent()
    await agent.waitReady()
    await acts.settle()
    if (!hasEnded) throw new NotReached(`the agent did not pass ${name}`)
  }

  async #crashExecutable({ name, verb, calls, isAgentThere }: ExecutablePoint): Promise<void> {
    const { agent } = this.#node
    const isKilled = isAgentThere
      ? await this.#killExecutable(verb, [this.#killAt, calls])
      : await this.#killWithoutAgent([this.#killAt, calls])
    await agent.waitReady()
    if (!isKilled) throw new NotReached(`the executable did not pass ${name}`)
  }

  /** Then the runtime does what it does after a failure: it asks for a DEL, until it succeeds. */
  async #killExecutable(verb: 'ADD' | 'DEL', under: readonly string[]): Promise<boolean> {
    const pod = await Pod.prepare(this.#node.machine, this.#nextName())
    if (verb === 'DEL') await pod.add()
    const isKilled = await wasKilled(verb === 'ADD' ? pod.add({ under }) : pod.del({ under }))
    await pod.remove()
    return isKilled
  }

  async #killWithoutAgent(under: readonly string[]): Promise<boolean> {
    const pod = await this.#newPod()
    if (pod === undefined) return false
    await this.#node.agent.kill('SIGKILL')
    const isKilled = await wasKilled(pod.del({ under }))
    this.#startAgent()
    await pod.remove()
    return isKilled
  }

  /** Two pods come, those that are too many go, and one of the new ones goes at once. */
  async #work(): Promise<void> {
    const doomed = this.#pods.splice(0, Math.max(0, this.#pods.length - MOST_PODS))
    const passing = this.#newPod().then((pod) => pod?.remove())
    const staying = this.#newPod().then((pod) => void (pod && this.#pods.push(pod)))
    const outcomes = await Promise.allSettled([
      passing,
      staying,
      ...doomed.map((pod) => pod.remove()),
    ])
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  }

  /** Undefined when its ADD failed: a runtime has to live with that, and only with that. */
  async #newPod(): Promise<Pod | undefined> {
    try {
      return await this.#node.addPod(this.#nextName(), IMPATIENT)
    } catch (error) {
      if (error instanceof CniFailure && error.verb === 'ADD') return undefined
      throw error
    }
  }

  #nextName(): string {
    return `pod-${++this.#podCount}`
  }

  #startAgent(...args: string[]): void {
    this.#node.agent.start({ from: 'bundle', args })
  }

  async #isReadyBeforeItEnds(): Promise<boolean> {
    try {
      await this.#node.agent.waitReady()
      return true
    } catch (error) {
      if (error instanceof LabError && error.code === 'absent') return false
      throw error
    }
  }
}

async function wasKilled(call: Promise<unknown>): Promise<boolean> {
  try {
    await call
    return false
  } catch (error) {
    if (error instanceof CniFailure && error.status === 137) return true
    throw error
  }
}
