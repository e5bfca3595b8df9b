// Ends the process at a named point, as a kill would: for tests of what a restart finds. Off unless the command line asks (ADR 0035).

export interface CrashPlan {
  readonly point: string
  /** Counts from 1. */
  readonly pass: number
}

/** What to call at each point; without a plan it does nothing. */
export function crashPointOf(plan: CrashPlan | undefined): (name: string) => void {
  if (plan === undefined) return () => undefined
  let left = plan.pass
  return (name) => {
    if (name !== plan.point || --left > 0) return
    // Not an exit: no handler may run, no buffer be written.
    process.kill(process.pid, 'SIGKILL')
  }
}
