// Ring buffers on the real kernel and Node's own loop: order, bounded turns, losses, life and end.
import { spawnSync } from 'node:child_process'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { testObject } from '../testing/test-object.ts'
import { BpfObject } from './object.ts'
import { possibleCpus } from './per-cpu.ts'
import { RingBuffer } from './ring.ts'
import { struct, u32, u64 } from './struct.ts'
import { TypedPerCpuMap } from './typed-map.ts'

const RING_BYTES = 4096
const order = struct('ring_order', {
  first: u32,
  count: u32,
  size: u32,
  discard: u32,
  noWakeup: u32,
  pad: u32,
})
type Order = Partial<Parameters<typeof order.encode>[0]>

let object: BpfObject
beforeEach(async () => {
  object = BpfObject.open(testObject('binding_ring'))
  await object.load()
})
afterEach(() => object.close())

const ringMap = () => object.map('ring_records')
const emit = (what: Order) => {
  const full = { first: 0, count: 1, size: 8, discard: 0, noWakeup: 0, pad: 0, ...what }
  object.program('ring_emit').testRun({ ctx: order.encode(full) })
}
const numberOf = (record: Uint8Array) => u32.decode(record.slice(0, 4))
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i)

/** Reads until `count` records have come, turn by turn. */
async function reading(count: number, recordsPerTurn?: number) {
  const turns: number[][] = []
  await new Promise<void>((resolve) => {
    let seen = 0
    const ring = RingBuffer.open({
      map: ringMap(),
      ...(recordsPerTurn === undefined ? {} : { recordsPerTurn }),
      onRecords(records) {
        turns.push(records.map(numberOf))
        seen += records.length
        if (seen < count) return
        ring.close()
        resolve()
      },
    })
  })
  return turns
}

test('records come in order, as they were written', async () => {
  emit({ count: 100 })
  expect((await reading(100)).flat()).toEqual(upTo(100))
})

test('a turn takes no more than it may, and the loop goes on between turns', async () => {
  emit({ count: 100 })
  let others = 0
  const seenOthers: number[] = []
  let isDone = false
  const other = () => {
    others++
    if (!isDone) setImmediate(other)
  }
  setImmediate(other)
  await new Promise<void>((resolve) => {
    let seen = 0
    const ring = RingBuffer.open({
      map: ringMap(),
      recordsPerTurn: 10,
      onRecords(records) {
        expect(records.length).toBe(10)
        seenOthers.push(others)
        seen += records.length
        if (seen < 100) return
        ring.close()
        resolve()
      },
    })
  })
  isDone = true
  expect(new Set(seenOthers).size).toBe(10)
})

test('discarded records are passed over, and bound a turn as others do', async () => {
  emit({ count: 40, discard: 1 })
  const turns = await reading(40, 10)
  expect(turns.flat()).toEqual(upTo(40))
  expect(turns.map((records) => records.length)).toEqual(Array(8).fill(5))
})

test('records of every size survive the end of the ring and its beginning again', () => {
  const seen: [number, number][] = []
  using ring = RingBuffer.open({
    map: ringMap(),
    onRecords: (records) =>
      seen.push(...records.map((r): [number, number] => [numberOf(r), r.length])),
  })
  const wanted = upTo(2000).map((i) => [i, 4 + (i % 1001)] as [number, number])
  for (const [first, size] of wanted) {
    emit({ first, size })
    ring.consume()
  }
  expect(seen).toEqual(wanted)
})

test('one record larger than what a turn reads is read whole', async () => {
  object.close()
  object = BpfObject.open(testObject('binding_ring'), { maxEntries: { ring_records: 1 << 20 } })
  await object.load()
  const sizes: number[] = []
  using ring = RingBuffer.open({
    map: ringMap(),
    onRecords: (records) => sizes.push(...records.map((record) => record.length)),
  })
  emit({ size: 131072 })
  emit({ size: 5 })
  while (ring.consume() > 0);
  expect(sizes).toEqual([131072, 5])
})

test('what the programs could not write is counted and told', async () => {
  const lostMap = object.map('ring_lost')
  // What was lost before does not count.
  new TypedPerCpuMap(lostMap, u32, u64).set(1, Array(possibleCpus()).fill(5n))
  const told: bigint[] = []
  let seen = 0
  using ring = RingBuffer.open({
    map: ringMap(),
    losses: { map: lostMap, key: u32.encode(1), onLost: (count) => told.push(count) },
    onRecords: (records) => {
      seen += records.length
    },
  })
  expect(ring.lost()).toBe(0n)
  // 56 bytes and 8 of the kernel's own make 64; the last byte of a ring is never used.
  const fits = RING_BYTES / 64 - 1
  emit({ count: 1000, size: 56 })
  expect(ring.pendingBytes).toBe(fits * 64)
  expect(ring.lost()).toBe(BigInt(1000 - fits))
  while (seen < fits) await turn()
  expect(told).toEqual([BigInt(1000 - fits)])
  emit({ count: 100, size: 56 })
  while (seen < 2 * fits) await turn()
  expect(told).toEqual([BigInt(1000 - fits), BigInt(100 - fits)])
  expect(ring.pendingBytes).toBe(0)
})

test('records written without waking the reader wait for consume()', () => {
  const seen: number[] = []
  using ring = RingBuffer.open({
    map: ringMap(),
    onRecords: (records) => seen.push(...records.map(numberOf)),
  })
  emit({ count: 3, noWakeup: 1 })
  expect(ring.consume()).toBe(3)
  expect(ring.consume()).toBe(0)
  expect(seen).toEqual([0, 1, 2])
})

test('what one reader left is there for the next, also after its map was closed', async () => {
  emit({ count: 30 })
  expect(await reading(10, 10)).toEqual([upTo(10)])
  const seen: number[] = []
  using ring = RingBuffer.open({
    map: ringMap(),
    onRecords: (records) => seen.push(...records.map(numberOf)),
  })
  ringMap().close()
  while (seen.length < 20) await turn()
  expect(seen).toEqual(upTo(30).slice(10))
  expect(ring.pendingBytes).toBe(0)
})

test('close() is safe twice, and nothing comes after it', async () => {
  const ring = RingBuffer.open({
    map: ringMap(),
    onRecords: () => expect.fail('a record after close()'),
  })
  ring.close()
  ring.close()
  emit({ count: 3 })
  await turn()
  expect(ring.consume()).toBe(0)
  expect(ring.pendingBytes).toBe(0)
  ring.ref().unref()
  expect((await reading(3)).flat()).toEqual([0, 1, 2])
})

test('a map of another type is refused', () => {
  const attempt = () =>
    RingBuffer.open({ map: object.map('ring_lost'), onRecords: () => undefined })
  expect(attempt).toThrow(/EINVAL: it is of type percpu_array/)
})

const module = (path: string) => new URL(path, import.meta.url).href

/** A process of its own with a ring and an `emit()`; what it printed and how it ended. */
function processWith(body: string) {
  const script = `
    import { Worker } from 'node:worker_threads'
    import { BpfObject } from '${module('./object.ts')}'
    import { RingBuffer } from '${module('./ring.ts')}'
    const object = BpfObject.open('${testObject('binding_ring')}')
    await object.load()
    const map = object.map('ring_records')
    const emit = () => object.program('ring_emit').testRun({
      ctx: new Uint8Array(Uint32Array.of(0, 1, 8, 0, 0, 0).buffer) })
    ${body}`
  const args = ['--input-type=module', '-e', script]
  return spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 30_000 })
}

test('an open ring keeps the process alive until it is closed', () => {
  const { status, stdout, stderr } = processWith(`
    const ring = RingBuffer.open({ map, onRecords() { console.log('record'); ring.close() } })
    setTimeout(emit, 50).unref()`)
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'record\n', stderr: '' })
})

test('unref() lets the process end, ref() takes that back', () => {
  const ended = processWith(`
    RingBuffer.open({ map, onRecords() {} }).unref()`)
  expect({ status: ended.status, stderr: ended.stderr }).toEqual({ status: 0, stderr: '' })
  const stayed = processWith(`
    const ring = RingBuffer.open({ map, onRecords() { console.log('record'); ring.close() } })
    ring.unref().ref()
    setTimeout(emit, 50).unref()
    process.on('exit', () => console.log('exit'))`)
  expect(stayed.stdout).toBe('record\nexit\n')
})

test('what onRecords throws is an uncaught exception', () => {
  const { status, stderr } = processWith(`
    RingBuffer.open({ map, onRecords() { throw new Error('of the reader') } })
    emit()`)
  expect(status).not.toBe(0)
  expect(stderr).toContain('of the reader')
})

test('a worker that is ended takes its ring along', () => {
  const { status, stdout, stderr } = processWith(`
    const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(\`
      import { parentPort } from 'node:worker_threads'
      import { BpfMap } from '${module('./map.ts')}'
      import { RingBuffer } from '${module('./ring.ts')}'
      const map = BpfMap.create({ type: 'ringbuf', keySize: 0, valueSize: 0, maxEntries: 4096, name: 'ring' })
      RingBuffer.open({ map, onRecords() {} })
      parentPort.postMessage('open')\`)))
    await new Promise((resolve) => worker.once('message', resolve))
    console.log(await worker.terminate())
    object.close()`)
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '1\n', stderr: '' })
})
