// A place in the code where a test may stop the world: called after each durable write, does nothing by default (ADR 0035).

/** May return a promise that never settles, or end the process. */
export type CrashPoint = (name: string) => void | Promise<void>

export const noCrash: CrashPoint = () => undefined
