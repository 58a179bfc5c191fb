import t from 'tap'
import { WLUN_REPORT_LUNS } from 'vhost-user-protocol-ts'
import { Doorbells } from '../../iothreads/doorbells.js'
import { NullDriver } from '../../iothreads/drivers/null.js'
import type { Request } from '../../iothreads/request.js'
import type { UnitBinding } from '../../iothreads/unit-binding.js'
import { UnitMap } from '../../iothreads/unit-map.js'
import { createGate } from '../../iothreads/write-gate-memory.js'
import { WriteGates } from '../../iothreads/write-gates.js'
import { LogicalUnit, Nexus, Target, UnitState } from '../../scsi/index.js'
import { unitConfig } from '../support/iothreads/units.js'

const gates = new WriteGates<Request>(new Doorbells(), 0, () => {})
const unit = new LogicalUnit(unitConfig(), UnitState.create(8))

function binding(index: number, target: number, lun: number): UnitBinding {
  const nexus = new Nexus(unit, target, lun, new Int32Array(1), false)
  return { index, target, lun, nexus, driver: new NullDriver(0, () => {}), gate: gates.open(createGate(), false) }
}

const PLACES = [
  [0, 0],
  [0, 1],
  [0, 255],
  [0, 256],
  [0, 16383],
  [7, 0],
  [7, 256],
  [255, 255],
  [255, 16383],
] as const

t.test('units are found by target and LUN, small and large, and nothing else is', async (t) => {
  const map = new UnitMap()
  for (const target of [7, 0, 255]) map.addTarget(target, new Target(target))
  const bindings = PLACES.map(([target, lun], i) => binding(i, target, lun))
  for (const each of bindings) map.addUnit(each)
  t.same(map.bindings, bindings)
  const found = new Set<UnitBinding>()
  for (let target = -1; target < 256; target++) {
    for (const lun of [-1, 0, 1, 2, 254, 255, 256, 257, 511, 512, 16382, 16383, WLUN_REPORT_LUNS]) {
      // The reader gives requests without a meaningful LUN no target either.
      if (lun < 0 && target >= 0) continue
      const each = map.find(target, lun)
      if (each === null) continue
      t.strictSame([each.target, each.lun], [target, lun])
      found.add(each)
    }
  }
  t.equal(found.size, PLACES.length)
})

t.test('targets', async (t) => {
  const map = new UnitMap()
  t.equal(map.targetOf(0, 0), undefined)
  t.equal(map.targetOf(-1, WLUN_REPORT_LUNS), undefined)
  t.equal(map.find(0, 0), null)
  t.equal(map.find(255, 16383), null)
  const high = new Target(200)
  const low = new Target(3)
  map.addTarget(200, high)
  t.equal(map.targetOf(-1, WLUN_REPORT_LUNS), high)
  map.addTarget(3, low)
  t.equal(map.targetOf(3, 77), low)
  t.equal(map.targetOf(200, 0), high)
  t.equal(map.targetOf(4, 0), undefined)
  t.equal(map.targetOf(-1, WLUN_REPORT_LUNS), low, 'the lowest target answers for the well known unit')
  t.equal(map.targetOf(-1, -1), undefined)
})

t.test('maps do not share anything', async (t) => {
  const one = new UnitMap()
  const other = new UnitMap()
  one.addTarget(5, new Target(5))
  one.addUnit(binding(0, 5, 5))
  one.addUnit(binding(1, 5, 5000))
  t.equal(other.find(5, 5), null)
  t.equal(one.find(6, 5), null)
  t.equal(other.find(5, 5000), null)
})
