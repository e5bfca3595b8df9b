// Every named place where a fault round kills: crash points of the agent, system calls of the executable; and how each is reached.
import { IPAM_CRASH_POINTS } from '@sinabro/agent/ipam/crash-point.ts'
import { POD_CRASH_POINTS } from '@sinabro/agent/pods/crash-points.ts'

/** What has to happen on the node so that the agent passes a point. */
export type Scene =
  | 'life' // a pod comes and goes
  | 'start' // nothing: it is passed while the agent starts
  | 'second-add' // ADD of a pod that is there
  | 'full-disk' // ADD with no space left for its record
  | 'long-history' // DEL with a list of released addresses that has to be written anew
  | 'damaged-record' // a pod's record is cut short before the start
  | 'damaged-then-deleted' // and the pod is deleted
  | 'mended-record' // a record set aside is whole again before the start

export interface AgentPoint {
  readonly victim: 'agent'
  readonly name: string
  readonly scene: Scene
}

export interface ExecutablePoint {
  readonly victim: 'executable'
  readonly name: string
  readonly verb: 'ADD' | 'DEL'
  /** For kill-at.c. */
  readonly calls: string
  readonly isAgentThere: boolean
}

export type Point = AgentPoint | ExecutablePoint

function sceneOf(point: string): Scene {
  const [, what, step] = point.split('.')
  if (what === 'counters') return 'start'
  if (what === 'renewal') return 'second-add'
  if (what === 'withdrawal') return 'full-disk'
  if (what === 'history') return step === 'appended' ? 'life' : 'long-history'
  if (what === 'set-aside') return 'damaged-record'
  if (what === 'quarantine') return 'damaged-then-deleted'
  if (what === 'mended') return 'mended-record'
  return 'life'
}

const WITH_AGENT = {
  connect: 'connect',
  send: 'connect,sendto',
  wait: 'connect,sendto,poll',
  receive: 'connect,sendto,read',
  end: 'connect,exit_group',
}

const WITHOUT_AGENT = {
  'queue.folder': 'connect,mkdir',
  'queue.create': 'connect,openat',
  'queue.write': 'connect,write',
  'queue.flush': 'connect,fsync',
  'queue.rename': 'connect,rename',
  'queue.flush-folder': 'connect,rename,fsync',
  'queue.end': 'connect,exit_group',
}

function executablePoints(
  verb: 'ADD' | 'DEL',
  calls: Readonly<Record<string, string>>,
  isAgentThere: boolean,
): ExecutablePoint[] {
  return Object.entries(calls).map(([name, call]) => ({
    victim: 'executable',
    name: `executable.${verb}.${name}`,
    verb,
    calls: call,
    isAgentThere,
  }))
}

export const POINTS: readonly Point[] = [
  ...[...IPAM_CRASH_POINTS, ...POD_CRASH_POINTS].map(
    (name): AgentPoint => ({ victim: 'agent', name, scene: sceneOf(name) }),
  ),
  ...executablePoints('ADD', { ...WITH_AGENT, answer: 'connect,sendto,write' }, true),
  ...executablePoints('DEL', WITH_AGENT, true),
  ...executablePoints('DEL', WITHOUT_AGENT, false),
]
