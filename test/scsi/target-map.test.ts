import t from 'tap'
import { Target } from '../../scsi/target.js'
import { TargetMap } from '../../scsi/target-map.js'

t.test('targets by id', async (t) => {
  const map = new TargetMap()
  const [first, last] = [new Target(0), new Target(255)]
  map.add(first)
  map.add(last)
  t.equal(map.target(0), first)
  t.equal(map.target(255), last)
  for (const id of [1, 254, 256, -1]) t.equal(map.target(id), undefined)
  map.remove(0)
  map.remove(0)
  t.equal(map.target(0), undefined)
  map.add(new Target(0))
  t.not(map.target(0), first)
})

t.test('ids that cannot be added', async (t) => {
  const map = new TargetMap()
  map.add(new Target(7))
  for (const id of [7, -1, 256, 0.5]) t.throws(() => map.add(new Target(id)), RangeError)
})
