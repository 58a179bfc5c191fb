import '../../support/packed-rings.js'
import '../task-functions.test.js'
