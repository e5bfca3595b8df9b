// Where the built parts are that are loaded when they are needed.

/** The packages that load files from there read this one variable, when they first need it. */
export function useLibDir(dir: string | undefined): void {
  if (dir !== undefined) process.env.SINABRO_LIB_DIR = dir
}

/** Where the built parts are, if not in the source tree. */
export function libDir(): string | undefined {
  return process.env.SINABRO_LIB_DIR
}
