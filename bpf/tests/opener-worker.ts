// A thread that sends first packets through a program, as another CPU would beside others.
import { parentPort, workerData } from 'node:worker_threads'
import { native } from '../src/native.ts'
import { BpfProgram } from '../src/program.ts'

export interface OpenerWork {
  readonly programFd: number
  readonly netnsFd: number
  readonly packets: readonly Uint8Array[]
}

const { programFd, netnsFd, packets } = workerData as OpenerWork
const netns = { fd: netnsFd }
const ctx = new Uint8Array(192)
const program = new BpfProgram(native().copyFd(programFd))
parentPort?.postMessage('ready')
parentPort?.once('message', () => {
  const verdicts = packets.map((data) => program.testRun({ data, ctx, netns }).retval)
  program.close()
  parentPort?.postMessage(verdicts)
})
