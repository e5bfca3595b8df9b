// What became of changes that travelled together.

export type Outcomes = readonly PromiseSettledResult<void>[]

/** @throws the first failure: those behind it mostly follow from it */
export function requireAll(outcomes: Outcomes): void {
  for (const one of outcomes) if (one.status === 'rejected') throw one.reason
}
