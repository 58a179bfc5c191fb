import '../../support/packed-rings.js'
import '../request-queue.test.js'
