// One vitest for the whole tree: `unit` needs nothing, `exec` the built executable, `kernel` root and namespaces of its own.
import { defineConfig } from 'vitest/config'

// A real kernel on a busy machine may be late once: those levels try a test twice, and the report names what needed it.
const exclude = ['**/node_modules/**', '**/build/**', '**/dist/**', '**/target/**']

export default defineConfig({
  test: {
    pool: 'forks',
    // Most of the kernel level waits (RCU, deadlines), so more files run at once than there are cores.
    maxWorkers: 4,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['*/**/*.test.ts'],
          exclude: [...exclude, '**/*.kernel.test.ts', '**/*.exec.test.ts', 'test/integration/**'],
        },
      },
      {
        test: {
          name: 'exec',
          include: ['*/**/*.exec.test.ts'],
          exclude,
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'kernel',
          include: ['{netlink,bpf,agent,setup}/**/*.kernel.test.ts'],
          exclude,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          retry: 1,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/**/*.kernel.test.ts'],
          exclude,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          retry: 1,
          // Each file has a lab of its own; more than two at once would be late too often.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
