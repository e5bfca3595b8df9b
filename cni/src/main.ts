// Entry of the bundle: runs one call on the native host, which exits with its code.
import type { NativeHost } from './host.ts'
import { run } from './run.ts'

declare const host: NativeHost
host.exit(run(host))
