import '../../support/packed-rings.js'
import '../task-management-races.test.js'
