// Changes that travel together, giving requests up, and reading lists one by one, with answers written down.
import { describe, expect, test } from 'vitest'
import { concat, message } from '../testing/messages.ts'
import { type Answer, ScriptedTransport } from '../testing/scripted-transport.ts'
import { NetlinkClient } from './client.ts'
import type { Reader } from './codec/reader.ts'
import { EAGAIN, ENOBUFS } from './error.ts'
import { type Request, withSignal } from './requests.ts'
import { NLM_F_DUMP_INTR, NLM_F_MULTI, NLMSG_DONE, NLMSG_ERROR } from './socket-constants.ts'

const request: Request = { type: 18, op: 'THING', encode: (writer) => writer.u32(7) }
const wrong: Request = {
  ...request,
  encode(writer) {
    writer.u32(9)
    throw new RangeError('wrong')
  },
}

function outcome(sequence: number, errno = 0): Uint8Array {
  const payload = new Uint8Array(20)
  new DataView(payload.buffer).setInt32(0, -errno, true)
  return message({ type: NLMSG_ERROR, sequence, flags: 0x100, payload })
}

const thing = (number: number, sequence: number, flags = 0) =>
  message({
    type: 20,
    sequence,
    flags: NLM_F_MULTI | flags,
    payload: Uint8Array.of(number, 0, 0, 0),
  })
const things =
  (...numbers: readonly number[]): Answer =>
  (sequence) =>
    concat(...numbers.map((number) => thing(number, sequence)))
const done: Answer = (sequence) =>
  message({ type: NLMSG_DONE, sequence, flags: NLM_F_MULTI, payload: new Uint8Array(4) })
const decodeThing = (_: unknown, payload: Reader) => payload.u32()

function scripted(...answers: readonly Answer[]) {
  const transport = new ScriptedTransport()
  transport.answer(...answers)
  return { transport, client: new NetlinkClient(transport) }
}

/** Sequence and flags of every message of a datagram that was sent. */
function headers(bytes: Uint8Array | undefined): [sequence: number, flags: number][] {
  const list: [number, number][] = []
  if (bytes === undefined) return list
  const view = new DataView(bytes.buffer)
  for (let at = 0; at < bytes.length; at += (view.getUint32(at, true) + 3) & ~3) {
    list.push([view.getUint32(at + 8, true), view.getUint16(at + 6, true)])
  }
  return list
}

const statuses = (results: readonly PromiseSettledResult<unknown>[]) =>
  results.map((result) => (result.status === 'fulfilled' ? 'made' : result.reason.code))

describe('batch()', () => {
  test('is one datagram in which only the last asks for an acknowledgement', async () => {
    const { client, transport } = scripted((first) => outcome(first + 2))
    const results = await client.batch((batch) => [1, 2, 3].map(() => batch.change(request)))
    expect(statuses(results)).toEqual(['made', 'made', 'made'])
    expect(transport.sent).toHaveLength(1)
    expect(headers(transport.sent[0])).toEqual([
      [1, 1],
      [2, 1],
      [3, 5],
    ])
  })

  test('gives each its own error, the last too', async () => {
    const { client } = scripted(
      (first) => outcome(first + 1, 17),
      (first) => outcome(first + 3, 1),
    )
    const results = await client.batch((batch) => [1, 2, 3, 4].map(() => batch.change(request)))
    expect(statuses(results)).toEqual(['made', 'EEXIST', 'made', 'EPERM'])
  })

  test('a wrong value is its own error and leaves nothing in the datagram', async () => {
    const { client, transport } = scripted((first) => outcome(first + 1))
    const results = await client.batch((batch) => [
      batch.change(request),
      batch.change(wrong),
      batch.change(request),
    ])
    expect(statuses(results)).toEqual(['made', undefined, 'made'])
    expect(headers(transport.sent[0])).toHaveLength(2)
    expect(transport.sent[0]).toHaveLength(2 * 20)
  })

  test('sends as many datagrams as it takes, one after the other', async () => {
    const { client, transport } = scripted(
      (first) => outcome(first + 127),
      (first) => outcome(first + 127),
      (first) => concat(outcome(first, 2), outcome(first + 43)),
    )
    const results = await client.batch((batch) =>
      Array.from({ length: 300 }, () => batch.change(request)),
    )
    expect(transport.sent.map((sent) => headers(sent).length)).toEqual([128, 128, 44])
    expect(statuses(results).filter((status) => status !== 'made')).toEqual(['ENOENT'])
    expect(statuses(results).indexOf('ENOENT')).toBe(256)
  })

  test('a lost answer leaves the outcome open of those in its datagram that were not judged', async () => {
    const { client } = scripted(
      (first) => outcome(first, 17),
      -ENOBUFS,
      -EAGAIN,
      (first) => outcome(first + 1),
    )
    const results = await client.batch((batch) =>
      Array.from({ length: 130 }, () => batch.change(request)),
    )
    expect(statuses(results).slice(0, 3)).toEqual(['EEXIST', 'ENOBUFS', 'ENOBUFS'])
    expect(statuses(results).slice(127)).toEqual(['ENOBUFS', 'made', 'made'])
  })

  test('what a change makes of its error goes on one by one', async () => {
    const { client, transport } = scripted((first) => outcome(first, 17), outcome)
    const results = await client.batch((batch) => [
      batch.change(request).catch(() => batch.change(request)),
    ])
    expect(statuses(results)).toEqual(['made'])
    expect(transport.sent).toHaveLength(2)
  })

  test('waits its turn; nothing is sent for an empty one', async () => {
    const { client, transport } = scripted()
    const first = client.change(request)
    const batch = client.batch((requests) => [requests.change(request), requests.change(request)])
    expect(transport.sent).toHaveLength(1)
    transport.answer(outcome, (sequence) => outcome(sequence + 1))
    await first
    expect(statuses(await batch)).toEqual(['made', 'made'])
    expect(await client.batch(() => [])).toEqual([])
    expect(transport.sent).toHaveLength(2)
  })

  test('on a closed socket each is EBADF', async () => {
    const { client } = scripted()
    client.close()
    const results = await client.batch((batch) => [batch.change(request), batch.change(request)])
    expect(statuses(results)).toEqual(['EBADF', 'EBADF'])
  })

  test('once aborted, what is not sent yet is not made', async () => {
    const stop = new AbortController()
    const { client, transport } = scripted((first) => {
      stop.abort(new Error('enough'))
      return outcome(first + 127)
    })
    const results = await client.batch(
      (batch) => Array.from({ length: 130 }, () => batch.change(request)),
      { signal: stop.signal },
    )
    expect(transport.sent).toHaveLength(1)
    expect(results[127]).toEqual({ status: 'fulfilled', value: undefined })
    expect(results[128]).toEqual({ status: 'rejected', reason: new Error('enough') })
  })
})

describe('an AbortSignal', () => {
  test('that has aborted keeps a request from being sent', async () => {
    const { client, transport } = scripted(outcome)
    const given = withSignal(client, AbortSignal.abort(new Error('no')))
    await expect(given.change(request)).rejects.toThrow('no')
    await expect(given.reply(request, decodeThing)).rejects.toThrow('no')
    await expect(given.dump(request, decodeThing)).rejects.toThrow('no')
    await expect(given.stream(request, decodeThing).next()).rejects.toThrow('no')
    expect(transport.sent).toEqual([])
    await client.change(request)
  })

  test('takes a request out of the line; those before and behind it go on', async () => {
    const { client, transport } = scripted()
    const stop = new AbortController()
    const before = client.change(request)
    const given = client.change({ ...request, signal: stop.signal })
    const behind = client.change(request)
    stop.abort(new Error('no'))
    await expect(given).rejects.toThrow('no')
    transport.answer(outcome, outcome)
    await Promise.all([before, behind])
    expect(transport.sent).toHaveLength(2)
  })

  test('ends the wait for an answer, which is then left alone when it comes', async () => {
    const { client, transport } = scripted()
    const stop = new AbortController()
    const given = client.change({ ...request, signal: stop.signal })
    stop.abort(new Error('no'))
    await expect(given).rejects.toThrow('no')
    transport.answer((sequence) => outcome(sequence - 1, 17), outcome)
    await client.change(request)
  })

  test('ends a list between two datagrams and reads its rest, so that the next one is not EBUSY', async () => {
    const stop = new AbortController()
    const { client, transport } = scripted(things(1, 2), things(3), done)
    const given = client.dump({ ...request, signal: stop.signal }, (_, payload) => {
      stop.abort(new Error('no'))
      return payload.u32()
    })
    await expect(given).rejects.toThrow('no')
    transport.answer(things(4), done)
    expect(await client.dump(request, decodeThing)).toEqual([4])
  })
})

describe('stream()', () => {
  test('gives one after the other over a socket of its own, which it closes', async () => {
    const { client, transport } = scripted(things(1, 2), -EAGAIN, things(3), done)
    const list: number[] = []
    for await (const one of client.stream(request, decodeThing)) {
      expect(transport.others.open).toBe(1)
      list.push(one)
    }
    expect(list).toEqual([1, 2, 3])
    expect(transport.others.open).toBe(0)
  })

  test('holds no more than the objects of one datagram', async () => {
    const { client } = scripted(things(1, 2), things(3, 4, 5), things(6), done)
    let decoded = 0
    let given = 0
    for await (const _ of client.stream(request, (_, payload) => {
      decoded++
      return payload.u32()
    })) {
      given++
      expect(decoded - given).toBeLessThan(3)
    }
    expect([decoded, given]).toEqual([6, 6])
  })

  test('leaving the loop closes it, as does an error', async () => {
    const { client, transport } = scripted(things(1, 2), done)
    for await (const one of client.stream(request, decodeThing)) {
      if (one === 1) break
    }
    expect(transport.others.open).toBe(0)
    const failing = scripted(things(1), (sequence) => outcome(sequence, 1))
    const list = failing.client.stream(request, decodeThing)
    expect(await list.next()).toEqual({ value: 1, done: false })
    await expect(list.next()).rejects.toMatchObject({ code: 'EPERM' })
    expect(failing.transport.others.open).toBe(0)
  })

  test('one that changes is EINTR at once', async () => {
    const { client } = scripted(things(1), (sequence) => thing(2, sequence, NLM_F_DUMP_INTR), done)
    const list = client.stream(request, decodeThing)
    expect(await list.next()).toEqual({ value: 1, done: false })
    await expect(list.next()).rejects.toMatchObject({ code: 'EINTR' })
  })

  test('a first datagram that was cut is asked for again, a later one is EMSGSIZE', async () => {
    const big: Answer = (sequence) =>
      concat(thing(1, sequence), message({ type: 1, payload: new Uint8Array(40_000) }))
    const { client, transport } = scripted(big, -EAGAIN, big, done)
    expect(await Array.fromAsync(client.stream(request, decodeThing))).toEqual([1])
    transport.answer(things(1), big)
    const list = client.stream(request, decodeThing)
    await list.next()
    await expect(list.next()).rejects.toMatchObject({ code: 'EMSGSIZE' })
  })

  test('an abort ends it at the next one', async () => {
    const stop = new AbortController()
    const { client, transport } = scripted(things(1, 2), done)
    const list = client.stream({ ...request, signal: stop.signal }, decodeThing)
    await list.next()
    stop.abort(new Error('no'))
    await expect(list.next()).rejects.toThrow('no')
    expect(transport.others.open).toBe(0)
  })
})
