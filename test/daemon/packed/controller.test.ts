import '../../support/packed-rings.js'
import '../controller.test.js'
