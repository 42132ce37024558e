package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// cloning says how to multiply one row of a table.
type cloning struct {
	table     string
	key, also string // columns that get the name of the new device
	without   string // a column that the database fills in
	template  string // key of the row
	from, to  int
}

// cloneRows makes a fleet out of one enrolled device, in one statement: a million enrollments over HTTP would take longer
// than what is measured. It copies whatever columns there are, in SQL that every database here understands.
func cloneRows(ctx context.Context, db *sql.DB, c cloning) error {
	rows, err := db.QueryContext(ctx, "SELECT * FROM "+c.table+" WHERE 1 = 0")
	if err != nil {
		return err
	}
	columns, err := rows.Columns()
	if closed := rows.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	var into, values []string
	for _, column := range columns {
		switch column {
		case c.without:
			continue
		case c.key, c.also:
			values = append(values, fmt.Sprintf("CONCAT('%s', numbers.n + %d)", clonePrefix, cloneBase+c.from))
		default:
			values = append(values, "t."+column)
		}
		into = append(into, column)
	}
	res, err := db.ExecContext(ctx, fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s t CROSS JOIN (%s) numbers WHERE t.%s = '%s' AND numbers.n < %d",
		c.table, strings.Join(into, ", "), strings.Join(values, ", "), c.table, numbers(c.to-c.from), c.key, c.template, c.to-c.from))
	if err != nil {
		return fmt.Errorf("clone rows of %s: %w", c.table, err)
	}
	made, err := res.RowsAffected()
	if err == nil && made != int64(c.to-c.from) {
		err = fmt.Errorf("clone rows of %s: %d, not %d", c.table, made, c.to-c.from)
	}
	return err
}

// numbers is a query for the numbers from 0 to at least upTo-1, as a column n.
func numbers(upTo int) string {
	const digit = "(SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 " +
		"UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)"
	sum, from := "d0.n", digit+" d0"
	for place, digits := 10, 1; place < upTo; place, digits = place*10, digits+1 {
		sum += fmt.Sprintf(" + %d * d%d.n", place, digits)
		from += fmt.Sprintf(" CROSS JOIN %s d%d", digit, digits)
	}
	return "SELECT " + sum + " AS n FROM " + from
}
