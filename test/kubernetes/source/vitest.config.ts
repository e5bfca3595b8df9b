// The Kubernetes source against a real API server: sh setup/node.sh node_modules/.bin/vitest run --config test/kubernetes/source/vitest.config.ts
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ['*.spec.ts'],
    testTimeout: 90_000,
    hookTimeout: 90_000,
    fileParallelism: false,
  },
})
