import '../../support/packed-rings.js'
import '../model.test.js'
