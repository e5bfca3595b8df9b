// Pods (or nodes) that talk: starts servers inside, runs clients against them, returns what they saw.
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { closed } from './command.ts'
import { LabError } from './errors.ts'
import type { Inside, Machine } from './machine.ts'
import {
  type DownloadReport,
  type Greeting,
  HTTP_PORT,
  UDP_PORT,
  type UdpReport,
  type UploadReport,
} from './traffic.ts'

/** Somewhere a program can run: a pod, or a node itself. */
export interface Place {
  readonly machine: Machine
  readonly name: string
  readonly inside?: Inside
}

const PROGRAM = [process.execPath, join(import.meta.dirname, 'traffic.ts')]

/** Starts the servers and waits until they listen; they end with the pod or the lab. */
export async function serve(place: Place): Promise<void> {
  const child = run(place, ['serve', place.name])
  const said = await Promise.race([firstLine(child), closed(child)])
  if (said !== 'listening') throw new LabError('command', `server in ${place.name} ended: ${said}`)
  child.stdout?.destroy()
  child.stderr?.destroy()
  child.unref()
}

export async function ping(from: Place, address: string, count = 1): Promise<boolean> {
  const argv = ['ping', '-n', '-q', '-i', '0.2', '-c', String(count), '-W', '3', address]
  const { status } = await from.machine.exec(argv, { ...from.inside, canFail: true })
  return status === 0
}

/** Who answers each of so many local ports, from the first on; in order. */
export async function serversOf(
  from: Place,
  address: string,
  port: number,
  local: { readonly first: number; readonly count: number },
): Promise<string[]> {
  const args = ['servers', address, ...[port, local.first, local.count].map(String)]
  return JSON.parse(await outputOf(from, args)) as string[]
}

/** @param port where not the servers' own: of a service, say */
export async function greet(from: Place, address: string, port = HTTP_PORT): Promise<Greeting> {
  return JSON.parse(await outputOf(from, ['http', address, String(port)])) as Greeting
}

export async function echoUdp(
  from: Place,
  address: string,
  count: number,
  bytes: number,
  port = UDP_PORT,
): Promise<UdpReport> {
  const args = ['udp', address, String(count), String(bytes), String(port)]
  return JSON.parse(await outputOf(from, args, [0, 1]))
}

/** Bytes that arrived whole; throws if the server saw other bytes than were sent. */
export function upload(from: Place, address: string, bytes: number): Promise<UploadReport> {
  return new Upload(from, address, bytes, 0).report()
}

/** The same the other way; throws if other bytes come than are asked for. */
export async function download(
  from: Place,
  address: string,
  bytes: number,
): Promise<DownloadReport> {
  return JSON.parse(await outputOf(from, ['download', address, String(bytes)])) as DownloadReport
}

/** A transfer to be watched while something else happens. */
export class Upload {
  readonly #child: ChildProcess
  readonly #report: Promise<UploadReport>
  #mib = 0
  readonly #waiting: { readonly mib: number; readonly resolve: () => void }[] = []

  constructor(from: Place, address: string, bytes: number, mibPerSec: number) {
    this.#child = run(from, ['upload', address, String(bytes), String(mibPerSec)])
    this.#report = this.#finish(from, address)
    this.#report.catch(() => undefined) // whoever asks for the report or for progress hears of it
  }

  get mib(): number {
    return this.#mib
  }

  /** Until so many MiB have been handed to the socket; rejects if the transfer ends before. */
  async reached(mib: number): Promise<void> {
    if (this.#mib >= mib) return
    const passed = new Promise<void>((resolve) => this.#waiting.push({ mib, resolve }))
    await Promise.race([passed, this.#report])
    if (this.#mib < mib) throw new LabError('command', `transfer ended at ${this.#mib} MiB`)
  }

  report(): Promise<UploadReport> {
    return this.#report
  }

  async #finish(from: Place, address: string): Promise<UploadReport> {
    let errors = ''
    const { stdout, stderr } = this.#child
    if (stdout === null || stderr === null) throw new LabError('command', 'no pipes')
    createInterface({ input: stderr }).on('line', (line) => {
      if (!/^\d+$/.test(line)) errors += `${line}\n`
      else {
        this.#mib = Number(line)
        for (const { mib, resolve } of this.#waiting) if (this.#mib >= mib) resolve()
      }
    })
    const output = readAll(stdout)
    const status = await closed(this.#child)
    if (status !== 0) {
      const what = `upload from ${from.name} to ${address}: exit ${status}`
      throw new LabError('command', `${what}\n${await output}${errors}`)
    }
    return JSON.parse(await output) as UploadReport
  }
}

function run(place: Place, args: readonly string[]): ChildProcess {
  const argv = [...PROGRAM, ...args]
  return place.machine.spawn(argv, { ...place.inside, stdio: ['ignore', 'pipe', 'pipe'] })
}

async function outputOf(place: Place, args: readonly string[], okStatus = [0]): Promise<string> {
  const options = { ...place.inside, canFail: true }
  const { status, stdout, stderr } = await place.machine.exec([...PROGRAM, ...args], options)
  if (okStatus.includes(status)) return stdout
  throw new LabError('command', `${args.join(' ')} in ${place.name}: exit ${status}\n${stderr}`)
}

function firstLine(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new LabError('command', 'no pipe')
  const lines = createInterface({ input: child.stdout })
  return new Promise((resolve) => lines.once('line', resolve))
}

async function readAll(stream: NodeJS.ReadableStream): Promise<string> {
  let text = ''
  for await (const chunk of stream) text += String(chunk)
  return text
}
