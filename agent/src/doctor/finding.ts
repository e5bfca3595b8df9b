// What a check says: what was found, what it means for the network of pods, what to do about it.

export interface Finding {
  readonly level: 'error' | 'warning'
  readonly found: string
  readonly means: string
  readonly do: string
}

/** A check looks and changes nothing. An empty list: nothing wrong. */
export interface Check<World> {
  readonly name: string
  run(world: World): Promise<readonly Finding[]> | readonly Finding[]
}

/** Thrown by a check that cannot look: the message says why. */
export class Skip extends Error {
  override readonly name = 'Skip'
  readonly code = 'skipped'
}

export interface Report {
  readonly check: string
  readonly level: 'ok' | 'warning' | 'error' | 'skipped'
  /** Absent when nothing is wrong; the reason when it was skipped. */
  readonly found?: string
  readonly means?: string
  readonly do?: string
}

/** All checks, one after the other; one that fails says so and keeps nobody from looking. */
export async function examine<World>(
  checks: readonly Check<World>[],
  world: World,
): Promise<Report[]> {
  const reports: Report[] = []
  for (const check of checks) {
    try {
      const findings = await check.run(world)
      if (findings.length === 0) reports.push({ check: check.name, level: 'ok' })
      for (const finding of findings) reports.push({ check: check.name, ...finding })
    } catch (error) {
      const found = error instanceof Error ? error.message : String(error)
      reports.push({ check: check.name, level: 'skipped', found })
    }
  }
  return reports
}
