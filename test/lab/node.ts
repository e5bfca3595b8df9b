// A lab node: a machine with an agent and pods.
import { AgentProcess } from './agent-process.ts'
import type { CommandOptions, CommandResult } from './command.ts'
import { LabError } from './errors.ts'
import type { Machine } from './machine.ts'
import type { NodePlan } from './plan.ts'
import { Pod, type PodOptions } from './pod.ts'

export class LabNode {
  readonly machine: Machine
  readonly plan: NodePlan
  readonly agent: AgentProcess

  constructor(machine: Machine, plan: NodePlan, manifestsDir: string) {
    this.machine = machine
    this.plan = plan
    this.agent = new AgentProcess(machine, manifestsDir)
  }

  get name(): string {
    return this.plan.name
  }

  exec(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return this.machine.exec(argv, options)
  }

  addPod(name: string, options: PodOptions = {}): Promise<Pod> {
    return Pod.create(this.machine, name, options)
  }

  pods(): Pod[] {
    return Pod.list(this.machine)
  }

  pod(name: string): Pod {
    const found = this.pods().find((pod) => pod.name === name)
    if (found === undefined) throw new LabError('absent', `${this.name} has no pod ${name}`)
    return found
  }
}
