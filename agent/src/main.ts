#!/usr/bin/env node
// The program `sinabro`: reads what is asked, does it, and is the only place that ends the process.
import { readCommandLine } from './commands/read.ts'
import { EXIT, type Request, version } from './config.ts'
import { codeOf } from './runtime/log.ts'

const streams = {
  out: (text: string) => process.stdout.write(text),
  err: (text: string) => process.stderr.write(text),
}

/** What a command needs is loaded with the command: `status` must not wait for what only the agent uses. */
async function run(request: Request): Promise<number> {
  switch (request.command) {
    case 'agent': {
      const { runAgent } = await import('./app.ts')
      return await runAgent(request.config)
    }
    case 'status':
    case 'pods':
    case 'addresses':
    case 'nodes':
    case 'masquerade':
    case 'programs': {
      const { view } = await import('./api/view.ts')
      const { text, isHealthy } = await view(request.command, request.view)
      return show(text, isHealthy)
    }
    case 'flows': {
      const { askFlows, viewFlows } = await import('./api/view.ts')
      const { view, flows } = request
      if (flows.watch !== true) return show((await viewFlows(view, flows)).text)
      const { watchFlows, WATCH_LIMIT } = await import('./api/watch-flows.ts')
      const which = { ...flows, limit: flows.limit ?? WATCH_LIMIT }
      return await watchFlows(() => askFlows(view.socket, which), view.output, show)
    }
    case 'services': {
      const { viewServices } = await import('./api/view.ts')
      return show((await viewServices(request.view, request.name)).text)
    }
    case 'backends': {
      const { viewBackends } = await import('./api/view.ts')
      return show((await viewBackends(request.view, request)).text)
    }
    case 'explain-service': {
      const { viewExplanation } = await import('./api/view.ts')
      return show((await viewExplanation(request.view, request.asked)).text)
    }
    case 'doctor': {
      const { doctor } = await import('./doctor/doctor.ts')
      const { text, isSound } = await doctor(request.config, request.output)
      return show(text, isSound)
    }
    case 'uninstall': {
      const { leave, uninstall } = await import('./uninstall.ts')
      const { formatOutput } = await import('./api/view.ts')
      if (request.config.isForced) {
        const left = await leave(request.config)
        if (left !== undefined)
          return show(await formatOutput(request.output, left, () => sayLeft(left)))
      }
      const removed = await uninstall(request.config)
      const lines = removed.map((what) => `removed ${what}`)
      const nothing = 'there was nothing of Sinabro on this node'
      return show(
        await formatOutput(request.output, { removed }, () => lines.join('\n') || nothing),
      )
    }
    case 'version':
      return show(version())
    case 'none':
      return request.exitCode
  }
}

function sayLeft({ attachments }: { attachments: number }): string {
  if (attachments === 0)
    return 'no pod is left: the runtime has forgotten us. Stop the agent, then uninstall again'
  return `no new pods from now on; the runtime's files go with the last of ${attachments} attachments. Then stop the agent and uninstall again`
}

function show(text: string, isWell = true): number {
  streams.out(`${text}\n`)
  return isWell ? EXIT.ok : EXIT.degraded
}

function exitCodeOf(error: unknown): number {
  if (codeOf(error) === 'kernel') return EXIT.kernel
  return codeOf(error) === 'unreachable' ? EXIT.unreachable : EXIT.failed
}

let exitCode: number
try {
  exitCode = await run(readCommandLine(process.argv.slice(2), streams))
} catch (error) {
  // Those with a code are said in one line; anything else is a bug, and its stack is what helps.
  const text =
    error instanceof Error && codeOf(error) !== undefined
      ? error.message
      : error instanceof Error
        ? (error.stack ?? error.message)
        : String(error)
  streams.err(`sinabro: ${text}\n`)
  exitCode = exitCodeOf(error)
}
process.exit(exitCode)
