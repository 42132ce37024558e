package postgres

// Dialect is for tests.
var Dialect = dialect
