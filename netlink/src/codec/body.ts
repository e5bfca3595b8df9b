// What follows a message header: one fixed structure, then attributes.
import type { Codec } from './codec.ts'

export interface Body<H, A> {
  readonly header: H
  readonly attrs: A
}

/** The fixed structures of rtnetlink are all multiples of four bytes, so nothing lies between. */
export function body<H, A>(header: Codec<H>, attrs: Codec<A>): Codec<Body<H, A>> {
  return {
    encode(writer, value) {
      header.encode(writer, value.header)
      attrs.encode(writer, value.attrs)
    },
    decode: (reader) => ({ header: header.decode(reader), attrs: attrs.decode(reader) }),
  }
}
