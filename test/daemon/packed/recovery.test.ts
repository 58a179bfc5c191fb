import '../../support/packed-rings.js'
import '../recovery.test.js'
