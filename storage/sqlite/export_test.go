package sqlite

// Dialect is for tests.
var Dialect = dialect
