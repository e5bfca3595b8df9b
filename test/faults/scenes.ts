// What is arranged on a node so that its agent passes a certain point, and how it is put right afterwards.
import { appendFileSync, mkdirSync, readdirSync, renameSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import type { LabNode, Pod } from '../lab/index.ts'
import type { Scene } from './points.ts'

export interface Stage {
  readonly node: LabNode
  /** Those that stay; a scene takes out the one that it removes. */
  readonly pods: Pod[]
  newPod(): Promise<Pod | undefined>
  work(): Promise<void>
}

export interface Acts {
  /** With the agent that is to die. */
  act(): Promise<void>
  /** Without an agent. */
  tidy(): Promise<void>
  /** With the next agent. */
  settle(): Promise<void>
}

const NOTHING = async (): Promise<void> => undefined
const RECORDS = '/var/lib/sinabro/allocations'
/** More than the journal may have before it is written anew. */
const JOURNAL_LINES = 2_000

/** The agent does not run. */
export async function play(scene: Scene, stage: Stage): Promise<Acts> {
  const acts = { act: () => stage.work(), tidy: NOTHING, settle: NOTHING }
  switch (scene) {
    case 'life':
      return acts
    case 'start':
      return { ...acts, act: NOTHING }
    case 'second-add':
      return { ...acts, act: () => addAgain(stage) }
    case 'full-disk':
      await fillDisk(stage.node)
      return { ...acts, act: () => addOne(stage), tidy: () => freeDisk(stage.node) }
    case 'long-history':
      appendFileSync(inState(stage.node, 'released.log'), '192.0.2.1\n'.repeat(JOURNAL_LINES))
      return acts
    case 'damaged-record': {
      const pod = await damageRecord(stage)
      return { ...acts, act: NOTHING, settle: () => pod.remove() }
    }
    case 'damaged-then-deleted': {
      const pod = await damageRecord(stage)
      return { ...acts, act: () => pod.remove() }
    }
    case 'mended-record': {
      const { node, pods } = stage
      const folder = inState(node, 'quarantine')
      mkdirSync(folder, { recursive: true })
      const [pod] = pods
      if (pod === undefined) throw new Error('there is no pod')
      const name = recordOf(node, pod)
      renameSync(join(inState(node, 'allocations'), name), join(folder, name))
      return { ...acts, act: NOTHING }
    }
  }
}

function inState(node: LabNode, name: string): string {
  return join(node.machine.places.stateDir, name)
}

function recordOf(node: LabNode, pod: Pod): string {
  const names = readdirSync(inState(node, 'allocations'))
  const found = names.find((name) => name.endsWith(`+${pod.addresses.join('+')}.json`))
  if (found === undefined) throw new Error(`no record for ${pod.name} among ${names.join(' ')}`)
  return found
}

async function addAgain({ pods: [pod] }: Stage): Promise<void> {
  // The agent dies in it.
  await pod?.add().catch(() => undefined)
}

async function addOne(stage: Stage): Promise<void> {
  await (await stage.newPod())?.remove()
}

/** Cut in half, as a disk that lies about its cache leaves it. */
async function damageRecord({ node, pods }: Stage): Promise<Pod> {
  const pod = pods.shift()
  if (pod === undefined) throw new Error('there is no pod')
  truncateSync(join(inState(node, 'allocations'), recordOf(node, pod)), 100)
  return pod
}

/** A file system of its own over the folder of records, with what was there, and no room for more. */
async function fillDisk(node: LabNode): Promise<void> {
  const script = `set -e
    records=${RECORDS} copy=$(mktemp -d /run/records.XXXXXX)
    cp -a "$records/." "$copy"
    mount -t tmpfs -o size=256k,mode=700 full "$records"
    cp -a "$copy/." "$records"
    rm -r "$copy"
    dd if=/dev/zero of="$records/.room" bs=4k 2>/dev/null || true`
  await node.exec(['sh', '-c', script])
}

async function freeDisk(node: LabNode): Promise<void> {
  await node.exec(['umount', '--lazy', RECORDS])
}
