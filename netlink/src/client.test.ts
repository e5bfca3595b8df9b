// The logic of requests and answers, with answers written down: order, leftovers, interruptions, cut datagrams, closing.
import { describe, expect, test } from 'vitest'
import { concat, message } from '../testing/messages.ts'
import { type Answer, ScriptedTransport } from '../testing/scripted-transport.ts'
import { NetlinkClient } from './client.ts'
import { DecodeError } from './codec/decode-error.ts'
import type { Reader } from './codec/reader.ts'
import { EAGAIN, EINVAL, ENOBUFS, isCode, NetlinkError } from './error.ts'
import type { Request } from './requests.ts'
import { NLM_F_DUMP_INTR, NLM_F_MULTI, NLMSG_DONE, NLMSG_ERROR } from './socket-constants.ts'

const THING = 20
const request: Request = {
  type: 18,
  op: 'GET_THING',
  subject: 'thing',
  encode: (writer) => writer.u32(0),
}

/** A thing is one 32-bit number. */
function decodeThing(_: unknown, payload: Reader): number {
  const number = payload.u32()
  payload.end()
  return number
}

const thing = (number: number, sequence: number, flags = NLM_F_MULTI) =>
  message({ type: THING, sequence, flags, payload: Uint8Array.of(number, 0, 0, 0) })
const things =
  (...numbers: readonly number[]): Answer =>
  (sequence) =>
    concat(...numbers.map((number) => thing(number, sequence)))
const done: Answer = (sequence) =>
  message({ type: NLMSG_DONE, sequence, flags: NLM_F_MULTI, payload: new Uint8Array(4) })
const ack: Answer = (sequence) =>
  message({ type: NLMSG_ERROR, sequence, flags: 0x100, payload: new Uint8Array(20) })
const refusal =
  (errno: number): Answer =>
  (sequence) => {
    const payload = new Uint8Array(20)
    new DataView(payload.buffer).setInt32(0, -errno, true)
    return message({ type: NLMSG_ERROR, sequence, flags: 0x100, payload })
  }

function scripted(...answers: readonly Answer[]): {
  client: NetlinkClient
  transport: ScriptedTransport
} {
  const transport = new ScriptedTransport()
  transport.answer(...answers)
  return { transport, client: new NetlinkClient(transport) }
}

describe('change()', () => {
  test('sends header and body with REQUEST and ACK, and resolves at the acknowledgement', async () => {
    const { client, transport } = scripted(ack)
    await client.change({ ...request, flags: 0x400 })
    expect(transport.sent).toEqual([
      message({ type: 18, flags: 0x405, sequence: 1, payload: new Uint8Array(4) }),
    ])
  })

  test('rejects with the code and what it was about', async () => {
    const { client } = scripted(refusal(17), ack)
    const error = await client.change(request).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(NetlinkError)
    expect(isCode(error, 'EEXIST')).toBe(true)
    expect(error).toMatchObject({ code: 'EEXIST', op: 'GET_THING', errno: 17 })
    expect(String(error)).toBe('NetlinkError: GET_THING thing: EEXIST: file already exists')
    await client.change(request)
  })

  test('a wrong value is refused before anything is sent, and the next request goes on', async () => {
    const { client, transport } = scripted(ack)
    const wrong = {
      ...request,
      encode: () => {
        throw new RangeError('wrong')
      },
    }
    await expect(client.change(wrong)).rejects.toThrow(RangeError)
    expect(transport.sent).toHaveLength(0)
    await client.change(request)
  })

  test('skips the leftover of an earlier request', async () => {
    const { client } = scripted((sequence) => thing(1, sequence - 1), ack)
    await client.change(request)
  })

  test('waits for the loop when the answer is not there yet', async () => {
    const { client, transport } = scripted()
    const waiting = client.change(request)
    transport.answer(-EAGAIN, ack)
    await waiting
  })

  test('a lost answer is ENOBUFS: the outcome is unknown', async () => {
    const { client } = scripted(-ENOBUFS)
    await expect(client.change(request)).rejects.toMatchObject({ code: 'ENOBUFS' })
  })
})

describe('reply()', () => {
  test('gives the one answer', async () => {
    const { client } = scripted((sequence) => thing(7, sequence, 0))
    expect(await client.reply(request, decodeThing)).toBe(7)
  })

  test('asks again with room when the answer was cut', async () => {
    const big = (sequence: number) =>
      concat(thing(7, sequence, 0), message({ type: 1, payload: new Uint8Array(100_000) }))
    const { client, transport } = scripted(big, -EAGAIN, big)
    expect(await client.reply(request, decodeThing)).toBe(7)
    expect(transport.sent).toHaveLength(2)
  })
})

describe('dump()', () => {
  test('collects until DONE, over messages and datagrams', async () => {
    const { client } = scripted(things(1, 2), things(3), done)
    expect(await client.dump(request, decodeThing)).toEqual([1, 2, 3])
  })

  test('an error in DONE is an error', async () => {
    const { client } = scripted(things(1), (sequence) => {
      const payload = new Uint8Array(4)
      new DataView(payload.buffer).setInt32(0, -EINVAL, true)
      return message({ type: NLMSG_DONE, sequence, flags: NLM_F_MULTI, payload })
    })
    await expect(client.dump(request, decodeThing)).rejects.toMatchObject({ code: 'EINVAL' })
  })

  const interruptedThing: Answer = (sequence) => thing(9, sequence, NLM_F_MULTI | NLM_F_DUMP_INTR)
  const interruptedDone: Answer = (sequence) =>
    message({
      type: NLMSG_DONE,
      sequence,
      flags: NLM_F_MULTI | NLM_F_DUMP_INTR,
      payload: new Uint8Array(4),
    })

  test.each([
    ['an object', [interruptedThing, things(3), done]],
    ['DONE', [interruptedDone]],
  ])('is read again when it was interrupted, as said in %s', async (_, rest) => {
    const { client, transport } = scripted(things(1), ...rest, things(1, 2), done)
    expect(await client.dump(request, decodeThing)).toEqual([1, 2])
    expect(transport.sent).toHaveLength(2)
  })

  test('gives up with EINTR when it is interrupted every time', async () => {
    const { client, transport } = scripted()
    for (let tries = 0; tries < 20; tries++) {
      transport.answer((sequence) => thing(1, sequence, NLM_F_MULTI | NLM_F_DUMP_INTR), done)
    }
    await expect(client.dump(request, decodeThing)).rejects.toMatchObject({ code: 'EINTR' })
    expect(transport.sent).toHaveLength(20)
  })

  test('is repeated when a datagram was cut, though its DONE was in it', async () => {
    const big: Answer = (sequence) =>
      concat(
        thing(1, sequence),
        message({ type: 1, payload: new Uint8Array(50_000) }),
        message({ type: NLMSG_DONE, sequence, payload: new Uint8Array(4) }),
      )
    const { client } = scripted(big, -EAGAIN, big)
    expect(await client.dump(request, decodeThing)).toEqual([1])
  })

  test('reads the rest of a list it cannot decode, so that the next one is not EBUSY', async () => {
    const half: Answer = (sequence) =>
      message({ type: THING, sequence, flags: NLM_F_MULTI, payload: new Uint8Array(2) })
    const { client, transport } = scripted(half, things(1), done, -EAGAIN)
    await expect(client.dump(request, decodeThing)).rejects.toThrow(DecodeError)
    transport.answer(things(2), done)
    expect(await client.dump(request, decodeThing)).toEqual([2])
  })
})

describe('many at once', () => {
  test('are answered in order, one on its way at a time', async () => {
    const { client, transport } = scripted()
    const order: string[] = []
    const all = ['a', 'b', 'c'].map((name) =>
      client.change(request).then(
        () => order.push(name),
        () => order.push(`${name} failed`),
      ),
    )
    expect(transport.sent).toHaveLength(1)
    transport.answer(ack, refusal(1), ack)
    await Promise.all(all)
    expect(order).toEqual(['a', 'b failed', 'c'])
    expect(transport.sent.map((sent) => new DataView(sent.buffer).getUint32(8, true))).toEqual([
      1, 2, 3,
    ])
  })
})

describe('close()', () => {
  test('rejects the request on its way, those in line and later ones with EBADF', async () => {
    const { client } = scripted()
    const waiting = [client.change(request), client.dump(request, decodeThing)]
    client.close()
    const later = client.change(request)
    for (const result of await Promise.allSettled([...waiting, later])) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'EBADF' } })
    }
  })
})
