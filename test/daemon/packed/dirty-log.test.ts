import '../../support/packed-rings.js'
import '../dirty-log.test.js'
