import '../../support/packed-rings.js'
import '../task-management-controller.test.js'
