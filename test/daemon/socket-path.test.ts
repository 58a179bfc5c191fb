import t from 'tap'
import { socketPathFault } from '../../daemon/socket-path.js'

t.equal(socketPathFault('a'.repeat(107)), undefined)
t.equal(socketPathFault('a'.repeat(108)), `${'a'.repeat(108)}: the socket path has 108 bytes, the limit is 107`)
t.match(socketPathFault('ü'.repeat(54)), /has 108 bytes/, 'bytes count, not characters')
