// Package sqlstore keeps a server's state in a relational database. It is the one implementation behind the stores that
// vendors open by name; what differs between databases is an [Engine], which runs statements, and a [Dialect], which
// writes them.
//
// The requests of devices that arrive together share their statements and their commit: see group. Within a transaction
// statements that only write are held back and sent together with the next one that reads, or with the commit, so a
// request costs two round trips where the engine can pipeline. A call returns when its commit has.
package sqlstore

import (
	"context"
	"database/sql"
)

// Engine runs statements on one kind of database. It is safe for concurrent use.
type Engine interface {
	Dialect() *Dialect
	// Begin returns a write transaction. It may put off its own round trip to the first Send.
	Begin(ctx context.Context) (Conn, error)
	// Read runs calls that change nothing, outside a transaction.
	Read(ctx context.Context, calls ...*Call) error
	// Trouble says what kind of error of the database err is.
	Trouble(err error) Trouble
	Close() error
}

// Conn is a write transaction under way. It is not safe for concurrent use.
type Conn interface {
	// Send runs calls in order, in one round trip where the engine can, and with commit ends the transaction. After an
	// error the transaction can only be rolled back.
	Send(ctx context.Context, calls []*Call, commit bool) error
	Rollback()
}

// Call is one statement with its arguments: int64, string, []byte, or slices of them.
type Call struct {
	Text string
	Args []any
	Rows func(scan func(...any) error) error // called for each row; nil for a statement without rows
	N    int64                               // rows that a statement without rows changed
}

// RunSQL runs c for an engine on database/sql, by whichever of the two its statement is for.
func (c *Call) RunSQL(exec func() (sql.Result, error), query func() (*sql.Rows, error)) error {
	if c.Rows == nil {
		res, err := exec()
		if err != nil {
			return err
		}
		c.N, err = res.RowsAffected()
		return err
	}
	rows, err := query()
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := c.Rows(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Trouble is a kind of database error.
type Trouble uint8

// The kinds.
const (
	Other     Trouble = iota // a bug, or a database that is out of order
	Passing                  // lost connection, deadlock, overload: the same transaction may succeed when run again
	Duplicate                // a unique key is taken: somebody else was quicker
)
