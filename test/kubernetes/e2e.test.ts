// Reading ginkgo's report, and noticing what is not in it.
import { expect, test } from 'vitest'
import { missing, parseJunit } from './e2e.ts'

const report = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="4"><testsuite name="Kubernetes e2e suite" tests="4">
  <testcase name="[SynchronizedBeforeSuite]" classname="x" status="passed" time="0.5"></testcase>
  <testcase name="[It] [sig-network] DNS should &lt;work&gt;" classname="x" status="passed" time="1.5">
    <system-err>noise</system-err>
  </testcase>
  <testcase name="[It] [sig-network] Skipped" classname="x" status="skipped" time="0"><skipped message="skipped"></skipped></testcase>
  <testcase name="[It] [sig-network] Broken" classname="x" status="failed" time="2"><failure message="timed &#34;out&#34;" type="failed">stack</failure></testcase>
  <testcase name="[It] [sig-network] Said in the text" classname="x" status="failed" time="2"><failure message="" type="failed">[FAILED] no &lt;answer&gt;</failure></testcase>
</testsuite></testsuites>`

test('parseJunit() names what ran and why it failed', () => {
  expect(parseJunit(report)).toEqual([
    { name: '[It] [sig-network] DNS should <work>', seconds: 1.5 },
    { name: '[It] [sig-network] Broken', seconds: 2, failure: 'timed "out"' },
    { name: '[It] [sig-network] Said in the text', seconds: 2, failure: '[FAILED] no <answer>' },
  ])
})

test('parseJunit() counts a set-up that failed', () => {
  const failed =
    '<testcase name="[SynchronizedBeforeSuite]" time="30"><failure message="no nodes"></failure></testcase>'
  expect(parseJunit(failed)).toEqual([
    { name: '[SynchronizedBeforeSuite]', seconds: 30, failure: 'no nodes' },
  ])
})

test('missing() counts a run that was cut short, or that failed without a failure', () => {
  const passed = { name: 'a', seconds: 1 }
  const failed = { name: 'b', seconds: 1, failure: 'no' }
  const specs = { focus: 'x', count: 2 }
  expect(missing([passed, passed], 0, specs)).toEqual([])
  expect(missing([passed, failed], 1, specs)).toEqual([])
  expect(missing([passed], 0, specs)[0]?.failure).toContain('1 specs ran and at least 2')
  expect(missing([passed, passed], 2, specs)[0]?.failure).toContain('ended with 2')
  expect(missing([], 0, { focus: 'x' })).toHaveLength(1)
})
