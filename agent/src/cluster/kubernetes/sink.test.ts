// What of the Node is patched when something is to be told of it: an annotation, the latest value alone.
import { expect, test } from 'vitest'
import { systemClock } from '../../runtime/clock.ts'
import { silentLog } from '../../runtime/log.ts'
import type { KubernetesApi } from './api.ts'
import { KubernetesSink } from './sink.ts'

test('an annotation is patched with the status of the Node, which needs no further right', async () => {
  const patches: unknown[] = []
  const api = {
    json: async (request: {
      readonly path: string
      readonly body?: { readonly value: unknown }
    }) => {
      patches.push([request.path, request.body?.value])
    },
  } as unknown as KubernetesApi
  const sink = new KubernetesSink({
    ...{ api, nodeName: 'one', clock: systemClock, log: silentLog, pauseMs: 1 },
    uidOf: () => undefined,
  })
  sink.annotation({ name: 'a', value: 'first' })
  sink.annotation({ name: 'a', value: 'x' })
  const stop = new AbortController()
  const running = sink.run(stop.signal, () => undefined)
  const path = '/api/v1/nodes/one/status'
  await expect.poll(() => patches).toEqual([[path, { metadata: { annotations: { a: 'x' } } }]])
  sink.annotation({ name: 'a' })
  await expect
    .poll(() => patches.slice(1))
    .toEqual([[path, { metadata: { annotations: { a: null } } }]])
  stop.abort()
  await running
})
