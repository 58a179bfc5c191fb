import t from 'tap'
import { invocations, OUTCOME, parseResults } from './iscsi-test-cu.js'

const OUTPUT = `Can not use BLKSECTGET for /dev/sg devices
    [SKIPPED] PERSISTENT RESERVE IN is not implemented.

     CUnit - A unit testing framework for C - Version 2.1-3

Suite: Read10
  Test: Simple ...
    Test READ10 of 1-256 blocks at the start of the LUN
    Send READ10 (Expecting SUCCESS) LBA:0 blocks:1
    [OK] READ10 returned SUCCESS
    a line that ends with passed
passed
  Test: Async ...passed
  Test: Flags ...FAILED
    1. test_read10_flags.c:1  - CU_ASSERT_EQUAL(_r,0)
Suite: WriteSame16
  Test: Unmap ...
    [FAILED] Failed to send READ16 command: SG_IO ioctl failed
    [FAILED] Blocks did not read back as zero
FAILED
    1. test_writesame16_unmap.c:190  - CU_ASSERT_EQUAL(_r,0)
    2. test_writesame16_unmap.c:193  - CU_FAIL("[FAILED] Blocks did not read back " "as zero")
  Test: ZeroBlocks ...    [SKIPPED] LBPPB < 2. Skipping test
passed
  Test: Unaligned ...
    [SKIPPED] WRITESAME16 is not implemented.
    [SKIPPED] WRITESAME16 is not implemented.
passed
  Test: Crash ...
    Test SANITIZE OVERWRITE Reserved bits/bytes
Segmentation fault
`

t.test('what each test has come to', async (t) => {
  t.same(parseResults(OUTPUT), [
    { name: 'Read10.Simple', outcome: OUTCOME.PASS, reasons: [] },
    { name: 'Read10.Async', outcome: OUTCOME.PASS, reasons: [] },
    {
      name: 'Read10.Flags',
      outcome: OUTCOME.FAIL,
      reasons: ['test_read10_flags.c:1  - CU_ASSERT_EQUAL(_r,0)'],
    },
    {
      name: 'WriteSame16.Unmap',
      outcome: OUTCOME.FAIL,
      reasons: [
        'Failed to send READ16 command: SG_IO ioctl failed',
        'Blocks did not read back as zero',
        'test_writesame16_unmap.c:190  - CU_ASSERT_EQUAL(_r,0)',
        'test_writesame16_unmap.c:193  - CU_FAIL("[FAILED] Blocks did not read back " "as zero")',
      ],
    },
    { name: 'WriteSame16.ZeroBlocks', outcome: OUTCOME.SKIP, reasons: ['LBPPB < 2. Skipping test'] },
    { name: 'WriteSame16.Unaligned', outcome: OUTCOME.SKIP, reasons: ['WRITESAME16 is not implemented.'] },
    { name: 'WriteSame16.Crash', outcome: OUTCOME.FAIL, reasons: ['the tool has crashed'] },
  ])
  t.same(parseResults('Failed to connect to SCSI device 0\n'), [])
})

t.test('suites as a whole, but those that crash', async (t) => {
  const names = [
    'Read6.Simple',
    'Read6.BeyondEol',
    'Sanitize.Overwrite',
    'Sanitize.Crash',
    'Sanitize.Reset',
    'Unmap.Vpd',
  ]
  t.same(invocations(names, new Set(['Sanitize.Crash'])), ['Read6', 'Sanitize.Overwrite', 'Sanitize.Reset', 'Unmap'])
  t.same(invocations(names, new Set()), ['Read6', 'Sanitize', 'Unmap'])
})
