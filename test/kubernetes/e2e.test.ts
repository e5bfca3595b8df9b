// Reading ginkgo's report.
import { expect, test } from 'vitest'
import { parseJunit } from './e2e.ts'

const report = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="4"><testsuite name="Kubernetes e2e suite" tests="4">
  <testcase name="[SynchronizedBeforeSuite]" classname="x" status="passed" time="0.5"></testcase>
  <testcase name="[It] [sig-network] DNS should &lt;work&gt;" classname="x" status="passed" time="1.5">
    <system-err>noise</system-err>
  </testcase>
  <testcase name="[It] [sig-network] Skipped" classname="x" status="skipped" time="0"><skipped message="skipped"></skipped></testcase>
  <testcase name="[It] [sig-network] Broken" classname="x" status="failed" time="2"><failure message="timed &#34;out&#34;" type="failed">stack</failure></testcase>
</testsuite></testsuites>`

test('parseJunit() names what ran and why it failed', () => {
  expect(parseJunit(report)).toEqual([
    { name: '[It] [sig-network] DNS should <work>', seconds: 1.5 },
    { name: '[It] [sig-network] Broken', seconds: 2, failure: 'timed "out"' },
  ])
})

test('parseJunit() counts a set-up that failed', () => {
  const failed =
    '<testcase name="[SynchronizedBeforeSuite]" time="30"><failure message="no nodes"></failure></testcase>'
  expect(parseJunit(failed)).toEqual([
    { name: '[SynchronizedBeforeSuite]', seconds: 30, failure: 'no nodes' },
  ])
})
