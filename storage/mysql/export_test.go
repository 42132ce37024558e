package mysql

// Dialect is for tests.
var Dialect = dialect
