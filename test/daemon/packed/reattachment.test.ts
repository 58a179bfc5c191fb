import '../../support/packed-rings.js'
import '../reattachment.test.js'
