import '../../support/packed-rings.js'
import '../main-queue-recovery.test.js'
