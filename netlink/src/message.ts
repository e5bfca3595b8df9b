// The frame around every netlink message: its header, the kernel's answer to a request, and how to walk a datagram.
//
//    0               16              32
//   ┌───────────────────────────────┐
//   │ length (header included)      │
//   ├───────────────┬───────────────┤
//   │ type          │ flags         │
//   ├───────────────┴───────────────┤
//   │ sequence                      │
//   ├───────────────────────────────┤
//   │ port (0 = the kernel)         │   struct nlmsghdr, linux/netlink.h
//   ├───────────────────────────────┤
//   │ fixed structure, attributes, zeros up to a multiple of four
//   └───────────────────────────────
import { attrs } from './codec/attrs.ts'
import { text, u32 } from './codec/codec.ts'
import type { Reader } from './codec/reader.ts'
import type { Writer } from './codec/writer.ts'
import type { ExtAck } from './error.ts'
import { NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_HDRLEN } from './socket-constants.ts'

export interface MessageHeader {
  readonly type: number
  readonly flags: number
  readonly sequence: number
  readonly port: number
}

/** What NLMSG_ERROR and NLMSG_DONE say. */
export interface Outcome {
  /** 0 is success. */
  readonly errno: number
  readonly extAck?: ExtAck
}

/**
 * Calls `onMessage` for each message of a datagram with the cursor limited to its payload, until it returns false.
 * @throws DecodeError when a message is longer than what is there, or shorter than its own header
 */
export function forEachMessage(
  reader: Reader,
  onMessage: (header: MessageHeader, payload: Reader) => boolean,
): void {
  while (reader.remaining > 0) {
    reader.what = 'nlmsghdr'
    const length = reader.u32()
    const header = {
      type: reader.u16(),
      flags: reader.u16(),
      sequence: reader.u32(),
      port: reader.u32(),
    }
    if (length < NLMSG_HDRLEN) throw reader.error(`message of length ${length}`)
    const outer = reader.narrow(length - NLMSG_HDRLEN)
    if (!onMessage(header, reader)) return
    reader.skip(reader.remaining)
    reader.widen(outer)
    reader.skip(Math.min(-length & 3, reader.remaining))
  }
}

/** Writes a header with a length still open; `finishMessage()` fills it in. */
export function beginMessage(writer: Writer, header: MessageHeader): number {
  const start = writer.length
  writer.u32(0)
  writer.u16(header.type)
  writer.u16(header.flags)
  writer.u32(header.sequence)
  writer.u32(header.port)
  return start
}

export function finishMessage(writer: Writer, start: number): void {
  writer.patch32(start, writer.length - start)
  writer.align4()
}

/** For messages of a batch, which learn their place when they are sent. */
export function patchSequence(writer: Writer, start: number, sequence: number): void {
  writer.patch32(start + 8, sequence)
}

export function patchFlags(writer: Writer, start: number, flags: number): void {
  writer.patch16(start + 6, flags)
}

/** NLMSGERR_ATTR_* of linux/netlink.h. */
const errorAttrs = attrs('nlmsgerr', {
  message: [1, text(0xffff)],
  offset: [2, u32],
  missingAttribute: [5, u32],
})

/** NLMSG_ERROR: errno, the request's header, the request itself unless capped, and attributes when the flag says so. */
export function decodeError(header: MessageHeader, reader: Reader): Outcome {
  reader.what = 'nlmsgerr'
  const errno = -reader.i32()
  const echoed = reader.u32()
  reader.skip(NLMSG_HDRLEN - 4)
  if ((header.flags & NLM_F_CAPPED) === 0) {
    if (echoed < NLMSG_HDRLEN) throw reader.error(`request of length ${echoed}`)
    reader.skip(Math.min(echoed - NLMSG_HDRLEN, reader.remaining))
    reader.skip(Math.min(-echoed & 3, reader.remaining))
  }
  return withExtAck(errno, header, reader)
}

/** NLMSG_DONE: errno (positive numbers are a length, for old times' sake) and attributes when the flag says so. */
export function decodeDone(header: MessageHeader, reader: Reader): Outcome {
  if (reader.remaining === 0) return { errno: 0 }
  reader.what = 'NLMSG_DONE'
  const result = reader.i32()
  return withExtAck(result < 0 ? -result : 0, header, reader)
}

function withExtAck(errno: number, header: MessageHeader, reader: Reader): Outcome {
  if ((header.flags & NLM_F_ACK_TLVS) === 0 || reader.remaining === 0) return { errno }
  const { message = '', offset = 0, missingAttribute } = errorAttrs.decode(reader)
  return {
    errno,
    extAck: {
      message,
      offset,
      ...(missingAttribute === undefined ? {} : { missingAttribute }),
    },
  }
}
