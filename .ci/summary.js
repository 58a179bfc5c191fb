// Counts the assertions in the output of `npm test`, names the failed and skipped ones and prints "N passed, N failed" at the end.
// Exit status 1 when one has failed, none has passed, the TAP is cut short, or a guest test was skipped.
import { readFileSync } from 'node:fs'
import { Parser } from 'tap-parser'

const output = readFileSync(process.argv[2], 'utf8')
const start = output.search(/^TAP version /m)

const leaves = []

/** Collects what was asserted; a test that contains others counts only where it failed with none of them failing, as on a time-out. */
const collect = (parser) => {
  let failedInside = 0
  parser.on('child', (child) => {
    failedInside = 0
    collect(child)
    child.on('assert', (result) => {
      if (!result.ok && !result.todo && !result.skip) failedInside++
    })
  })
  parser.on('assert', (result) => {
    const failed = !result.ok && !result.todo && !result.skip
    if (!result.closingTestPoint || (failed && failedInside === 0)) leaves.push(result)
    failedInside = 0
  })
}

const whole = await new Promise((resolve) => {
  const parser = new Parser(resolve)
  collect(parser)
  parser.end(start < 0 ? '' : output.slice(start))
})

const skipped = leaves.filter((result) => result.skip || result.todo)
const failed = leaves.filter((result) => !result.ok && !skipped.includes(result))
const passed = leaves.length - skipped.length - failed.length

for (const { fullname, skip, todo } of skipped) console.log(`skipped: ${fullname} (${skip || todo})`)
for (const { fullname } of failed) console.log(`failed: ${fullname}`)
// the run itself counts when it is cut short
const failures = failed.length > 0 || whole.ok ? failed.length : 1
if (failures > failed.length) console.log(`failed: the test run as a whole, ${start < 0 ? 'no TAP was written' : 'see above'}`)
console.log(`${passed} passed, ${failures} failed`)

const guestSkipped = skipped.some(({ fullname }) => fullname.includes('/e2e/'))
process.exitCode = failures === 0 && passed > 0 && !guestSkipped ? 0 : 1
