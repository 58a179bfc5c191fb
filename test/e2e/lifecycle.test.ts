import { existsSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import t from 'tap'
import { type Daemon, startDaemon } from '../support/daemon.js'
import { eventually, within } from '../support/deadline.js'
import { type Footprint, footprint, settledFootprint } from '../support/footprint.js'
import { type Guest, startGuest } from '../support/guest/guest.js'
import { STREAM_PORT } from '../support/guest/init-script.js'
import { vhostUserScsi } from '../support/guest/qemu.js'
import { guestTest } from '../support/guest/requirements.js'
import { sparseImage } from '../support/image.js'
import { times } from '../support/long.js'
import type { Teardown } from '../support/teardown.js'
import { tempDir } from '../support/temp-dir.js'

const PROGRAMS = ['dd']
const BLOCK = 4096
const REBOOTS = Math.min(times(3), 20)
const WRITERS = 4
/** The first block of a writer. */
const REGION = 4096
const ENOUGH = 100

t.setTimeout(480_000 + 60_000 * REBOOTS)

const start = (t: Teardown, daemon: Daemon): Promise<Guest> =>
  startGuest(t, {
    devices: vhostUserScsi(daemon.socketPath, 2),
    programs: PROGRAMS,
    report: () => daemon.child.report(),
  })

/** A numbered block, as the writers make them with printf. */
const block = (writer: number, number: number): string => `writer ${writer} block ${number}`.padEnd(BLOCK)

/**
 * Starts writers in the guest's background: each writes its numbered blocks one after another, synchronously, and
 * announces each on the stream once the disk has acknowledged it. Something reads the disk `busy` at the same time.
 */
const startWriters = (guest: Guest, disk: string, busy: string): Promise<string> => {
  const write = `dd of=/dev/${disk} bs=${BLOCK} seek=$((w * ${REGION} + i)) oflag=direct,sync iflag=fullblock conv=notrunc`
  return guest.check(`
    exec 4> ${STREAM_PORT}
    for w in $(seq 0 ${WRITERS - 1}); do
      ( i=0
        while printf '%-${BLOCK}s' "writer $w block $i" | ${write} 2> /dev/null; do
          echo "$w $i" >&4
          i=$((i + 1))
        done ) &
    done
    while dd if=/dev/${busy} of=/dev/null bs=128k iflag=direct 2> /dev/null; do :; done &`)
}

t.test('guests come and go', guestTest(PROGRAMS), async (t) => {
  const image = sparseImage(tempDir(t), 'disk.img', 64)
  const luns = [`--lun=id=file0,target=0,lun=0,path=${image}`, '--lun=id=mem0,target=0,lun=1,driver=memory,size=64M']
  const daemon = await startDaemon(t, luns)
  const idle = footprint(daemon)

  const first = await start(t, daemon)
  const written = block(0, REGION - 1)
  await first.check(
    `echo -n '${written}' | dd of=/dev/${await first.disk(0, 0)} bs=${BLOCK} seek=${REGION - 1} conv=fsync`,
  )
  await first.powerOff()
  const left = await settledFootprint(daemon, idle)
  t.ok(left.files.length <= idle.files.length, 'no descriptor left over', { idle, left })
  t.ok(left.mappings.length <= idle.mappings.length, 'no mapping left over', { idle, left })

  const guest = await start(t, daemon)
  const read = `dd if=/dev/${await guest.disk(0, 0)} bs=${BLOCK} skip=${REGION - 1} count=1 status=none`
  t.equal(await guest.check(read), written, 'a second guest finds what the first has written')

  const acknowledged: string[] = []
  const lines = createInterface({ input: guest.stream })
  const streamEnd = new Promise((resolve) => lines.once('close', resolve))
  lines.on('line', (line) => {
    // A reboot can cut a line off
    if (/^\d \d+$/.test(line)) acknowledged.push(line)
  })
  /** Starts writers and waits until so many blocks more are acknowledged. */
  const write = async (blocks: number): Promise<void> => {
    const enough = acknowledged.length + blocks
    await startWriters(guest, await guest.disk(0, 0), await guest.disk(0, 1))
    await eventually(60_000, `${blocks} acknowledged blocks`, () => acknowledged.length >= enough || undefined)
  }

  const up: Footprint[] = [footprint(daemon)]
  for (let count = 0; count < REBOOTS; count++) {
    const { bootId } = guest
    await write(WRITERS)
    await guest.reboot()
    t.not(guest.bootId, bootId, 'a reboot during I/O')
    await guest.check(`dd if=/dev/${await guest.disk(0, 0)} of=/dev/null bs=1M count=8 iflag=direct status=none`)
    up.push(footprint(daemon))
  }
  for (const now of up) {
    t.equal(now.files.length, up[0]?.files.length, 'a reboot takes no descriptor', { first: up[0], now })
    t.equal(now.mappings.length, up[0]?.mappings.length, 'a reboot takes no mapping', { first: up[0], now })
  }

  await write(ENOUGH)
  t.same(await daemon.stop(), { code: 0, signal: null }, 'SIGTERM during I/O')
  t.notOk(existsSync(daemon.socketPath), 'the socket is gone')

  await guest.qemu.kill()
  await within(10_000, 'end of the stream', streamEnd)
  const content = readFileSync(image)
  const lost = acknowledged.filter((line) => {
    const [writer = NaN, number = NaN] = line.split(' ').map(Number)
    const offset = (writer * REGION + number) * BLOCK
    return content.toString('latin1', offset, offset + BLOCK) !== block(writer, number)
  })
  t.same(lost, [], `all of ${acknowledged.length} acknowledged blocks are in the image`)
})
