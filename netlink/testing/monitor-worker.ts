// A worker thread that listens and never closes, for a test that ends it.
import { parentPort } from 'node:worker_threads'
import { NetworkNamespace, RouteMonitor } from '../src/index.ts'

const netns = NetworkNamespace.create()
RouteMonitor.open({
  netns,
  groups: ['links'],
  onEvent: () => undefined,
  onOverrun: () => undefined,
})
netns.close()
parentPort?.postMessage('listening')
