#!/usr/bin/env node
// The program `sinabro`: reads what is asked, does it, and is the only place that ends the process.
import { EXIT, type Request, readCommandLine, version } from './config.ts'
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
    case 'status': {
      const { viewStatus } = await import('./api/view.ts')
      const { text, isHealthy } = await viewStatus(request.view)
      streams.out(`${text}\n`)
      return isHealthy ? EXIT.ok : EXIT.degraded
    }
    case 'pods': {
      const { viewPods } = await import('./api/view.ts')
      const { text } = await viewPods(request.view)
      streams.out(`${text}\n`)
      return EXIT.ok
    }
    case 'uninstall': {
      const { uninstall } = await import('./uninstall.ts')
      const removed = await uninstall(request.config)
      for (const what of removed) streams.out(`removed ${what}\n`)
      if (removed.length === 0) streams.out('there was nothing of Sinabro on this node\n')
      return EXIT.ok
    }
    case 'version':
      streams.out(`${version()}\n`)
      return EXIT.ok
    case 'none':
      return request.exitCode
  }
}

function exitCodeOf(error: unknown): number {
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
