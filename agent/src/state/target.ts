// What a reconciler writes to: the contract every room's target.ts fulfils.

/**
 * One kind of object outside the process. Four rules:
 * - `list` returns only what carries our mark, so that pruning can never touch what is not ours.
 * - `update` adds or replaces and may be repeated: the result is the same.
 * - `remove` of an absent object is success.
 * - keys are unique among rows and among actual objects.
 */
export interface Target<Row, Actual> {
  readonly name: string
  key(row: Row): string
  keyOf(actual: Actual): string
  /** Whether nothing has to be done. */
  isEqual(row: Row, actual: Actual): boolean
  list(signal: AbortSignal): Promise<readonly Actual[]>
  /**
   * The same as `list` in parts, each key in one of them: with it, a refresh lets what changed be written between two parts. Taken once
   * `list` has come to its end.
   */
  listInParts?(signal: AbortSignal): AsyncGenerator<readonly Actual[], void, undefined>
  update(row: Row, signal: AbortSignal): Promise<void>
  remove(actual: Actual, signal: AbortSignal): Promise<void>
  /** Reads one object: with it, taking one row away costs one look-up instead of a list. */
  find?(key: string, signal: AbortSignal): Promise<Actual | undefined>
  /**
   * The exclusive thing that an object takes (an address, a port). An object on its way out that holds what a row needs goes
   * before the row comes; all others go after, so that what replaces something is there first.
   */
  claim?(row: Row): string | undefined
  claimOf?(actual: Actual): string | undefined
}
