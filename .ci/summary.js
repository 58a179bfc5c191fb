// Counts the assertions in the output of `npm test` as tap does (a test without any counts as one), names the failed
// and the skipped ones and prints "N passed, N failed" at the end. Exit status 1 when one has failed, none has passed,
// the TAP is cut short, or a guest test was skipped.
import { readFileSync } from 'node:fs'
import { Parser } from 'tap-parser'

const output = readFileSync(process.argv[2], 'utf8')
const start = output.search(/^TAP version /m)
const events = Parser.parse(start < 0 ? '' : output.slice(start), { flat: true })

const results = events.filter(([name]) => name === 'assert').map(([, result]) => result)
const complete = events.find(([name]) => name === 'complete')?.[1]

const skipped = results.filter((result) => result.skip || result.todo)
const failed = results.filter((result) => !result.ok && !skipped.includes(result))
const passed = results.length - skipped.length - failed.length

for (const { name, skip, todo } of skipped) console.log(`skipped: ${name} (${skip || todo})`)
for (const { name } of failed) console.log(`failed: ${name}`)
// the run itself counts when it is cut short
const cut = !complete?.ok && failed.length === 0
if (cut) console.log(`failed: the test run as a whole, ${start < 0 ? 'no TAP was written' : 'see above'}`)
console.log(`${passed} passed, ${failed.length + (cut ? 1 : 0)} failed`)

const guestSkipped = skipped.some(({ name }) => name.includes('/e2e/'))
process.exitCode = !cut && failed.length === 0 && passed > 0 && !guestSkipped ? 0 : 1
