// Whatever comes back, a request ends, with an answer or with an error of this package; and the next one is served.
import { describe, expect, test } from 'vitest'
import { concat, message } from '../testing/messages.ts'
import { pseudoRandom } from '../testing/pseudo-random.ts'
import { type Answer, ScriptedTransport } from '../testing/scripted-transport.ts'
import { NetlinkClient } from './client.ts'
import { DecodeError } from './codec/decode-error.ts'
import type { Reader } from './codec/reader.ts'
import { EAGAIN, ENOBUFS, NetlinkError } from './error.ts'
import type { Request, Requests } from './requests.ts'
import { NLM_F_MULTI, NLMSG_DONE, NLMSG_ERROR } from './socket-constants.ts'

const ROUNDS = 2000
const request: Request = { type: 18, op: 'THING', encode: (writer) => writer.u32(0) }
const decodeThing = (_: unknown, payload: Reader) => payload.u32()

const ack: Answer = (sequence) =>
  message({ type: NLMSG_ERROR, sequence, flags: 0x100, payload: new Uint8Array(20) })
/** Ends whatever waits: a list, an answer, a change. */
const theEnd: Answer = (sequence) =>
  concat(
    message({ type: 20, sequence, payload: new Uint8Array(4) }),
    message({ type: NLMSG_DONE, sequence, flags: NLM_F_MULTI, payload: new Uint8Array(4) }),
  )

/** A datagram that may have been one of the kernel's before something happened to it. */
function damaged(random: (below: number) => number): Answer {
  return (sequence) => {
    const types = [20, 20, NLMSG_ERROR, NLMSG_DONE, 1, 4, 99]
    const parts = Array.from({ length: 1 + random(4) }, () =>
      message({
        type: types[random(types.length)] ?? 20,
        flags: random(2) === 0 ? NLM_F_MULTI : random(0x10000),
        sequence: random(4) === 0 ? random(100) : sequence,
        payload: Uint8Array.from({ length: random(40) }, () => random(256)),
      }),
    )
    const bytes = concat(...parts)
    for (let count = random(4); count > 0; count--) bytes[random(bytes.length)] = random(256)
    return random(3) === 0 ? bytes.slice(0, random(bytes.length)) : bytes
  }
}

const ways: readonly (readonly [name: string, ask: (client: NetlinkClient) => Promise<unknown>])[] =
  [
    ['change()', (client) => client.change(request)],
    ['reply()', (client) => client.reply(request, decodeThing)],
    ['dump()', (client) => client.dump(request, decodeThing)],
    ['stream()', (client) => Array.fromAsync(client.stream(request, decodeThing))],
    [
      'batch()',
      async (client) => {
        const changes = (batch: Requests) => [batch.change(request), batch.change(request)]
        const [, last] = await client.batch(changes)
        if (last?.status === 'rejected') throw last.reason
      },
    ],
  ]

describe.each(ways)('%s', (_, ask) => {
  test('ends whatever comes back', async () => {
    const random = pseudoRandom(7)
    for (let round = 0; round < ROUNDS; round++) {
      const transport = new ScriptedTransport()
      const client = new NetlinkClient(transport)
      const answers = Array.from({ length: 1 + random(3) }, () =>
        random(12) === 0 ? -ENOBUFS : random(6) === 0 ? -EAGAIN : damaged(random),
      )
      transport.answer(...answers, theEnd, (first) => theEnd(first + 1))
      // What was asked again, because the first answer was cut or interrupted, has to end too.
      for (let again = 0; again < 21; again++) transport.answer(theEnd, ack)
      const error = await ask(client).then(
        () => undefined,
        (reason: unknown) => reason,
      )
      const isOurs = error instanceof NetlinkError || error instanceof DecodeError
      if (error !== undefined && !isOurs) throw error
      expect(transport.others.open).toBe(0)
    }
  })
})
