// The order of verbs: one at a time per attachment, and what a DEL does to an ADD.
import { expect, test } from 'vitest'
import { CancelledError, Turns } from './turns.ts'

const never = new AbortController().signal

function gate() {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { promise, open: () => resolve() }
}

test('Turns run verbs of one key in the order they came', async () => {
  const turns = new Turns()
  const order: string[] = []
  const first = gate()
  const one = turns.take('a', 'add', never, async () => {
    await first.promise
    order.push('one')
  })
  const two = turns.take('a', 'check', never, async () => {
    order.push('two')
  })
  first.open()
  await Promise.all([one, two])
  expect(order).toEqual(['one', 'two'])
  expect(turns.size).toBe(0)
})

test('Turns run verbs of different keys at once', async () => {
  const turns = new Turns()
  const open = gate()
  const waits = turns.take('a', 'add', never, () => open.promise)
  await turns.take('b', 'add', never, async () => open.open())
  await waits
})

test('Turns cancel a running ADD when its DEL comes, and the DEL runs after it has ended', async () => {
  const turns = new Turns()
  const order: string[] = []
  const started = gate()
  const add = turns.take('a', 'add', never, async (signal) => {
    started.open()
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    order.push('add undone')
    throw signal.reason
  })
  await started.promise
  const del = turns.take('a', 'del', never, async () => {
    order.push('del')
  })
  await expect(add).rejects.toBeInstanceOf(CancelledError)
  await del
  expect(order).toEqual(['add undone', 'del'])
})

test('Turns never begin an ADD that was cancelled while it waited', async () => {
  const turns = new Turns()
  const open = gate()
  let ran = false
  const check = turns.take('a', 'check', never, () => open.promise)
  const add = turns.take('a', 'add', never, async () => {
    ran = true
  })
  const del = turns.take('a', 'del', never, async () => {
    open.open()
  })
  open.open()
  await expect(add).rejects.toBeInstanceOf(CancelledError)
  await Promise.all([check, del])
  expect(ran).toBe(false)
})

test('Turns let a verb that failed leave the way free', async () => {
  const turns = new Turns()
  const failed = turns.take('a', 'add', never, async () => {
    throw new Error('no')
  })
  const next = turns.take('a', 'add', never, async () => 'done')
  await expect(failed).rejects.toThrow('no')
  await expect(next).resolves.toBe('done')
})

test('Turns abort the verb whose caller went away', async () => {
  const turns = new Turns()
  const caller = new AbortController()
  const add = turns.take('a', 'add', caller.signal, async (signal) => {
    caller.abort(new CancelledError('gone'))
    signal.throwIfAborted()
  })
  await expect(add).rejects.toThrow('gone')
})
