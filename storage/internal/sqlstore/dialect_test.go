package sqlstore

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	dollars = &Dialect{Name: "dollars", Dollar: true, Excluded: "excluded.%s", Upsert: "ON CONFLICT (%s) DO UPDATE SET"}
	marked  = &Dialect{Name: "marked", Values: true, Copies: 2, Excluded: "VALUES(%s)", Upsert: "ON DUPLICATE KEY UPDATE"}
	single  = &Dialect{Name: "single", Excluded: "excluded.%s", Upsert: "ON CONFLICT (%s) DO UPDATE SET"}
)

func texts(calls []*Call) (out []string) {
	for _, c := range calls {
		out = append(out, c.Text)
	}
	return out
}

func TestInsertOfManyRows(t *testing.T) {
	o := newOp("id name$", "INSERT INTO t (id, name) {values :id, :name} {upsert id: name = {new name}}")
	rows := [][]any{{int64(1), "a"}, {int64(2), "b"}}
	calls := o.calls(dollars, rows)
	assert.Equal(t, []string{"INSERT INTO t (id, name) SELECT k.id, k.name FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS k(id, name, i) ORDER BY k.i " +
		"ON CONFLICT (id) DO UPDATE SET name = excluded.name"}, texts(calls))
	assert.Equal(t, []any{[]int64{1, 2}, []string{"a", "b"}}, calls[0].Args)
	calls = o.calls(marked, rows)
	assert.Equal(t, []string{"INSERT INTO t (id, name) VALUES (?, ?), (?, ?) ON DUPLICATE KEY UPDATE name = VALUES(name)"}, texts(calls))
	assert.Equal(t, []any{int64(1), "a", int64(2), "b"}, calls[0].Args)
	calls = o.calls(single, rows)
	assert.Len(t, calls, 2)
	assert.Equal(t, "INSERT INTO t (id, name) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name", calls[1].Text)
	assert.Equal(t, []any{int64(2), "b"}, calls[1].Args)
}

func TestSelectForManyRows(t *testing.T) {
	o := newOp("id name$", "SELECT {i}, x FROM t WHERE name = :name AND id = :id")
	rows := [][]any{{int64(1), "a"}, {int64(2), "b"}, {int64(3), "c"}}
	assert.Equal(t, []string{"SELECT f.* FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS k(id, name, i), " +
		"LATERAL (SELECT k.i - 1, x FROM t WHERE name = k.name AND id = k.id) f"}, texts(o.calls(dollars, rows)))
	calls := o.calls(marked, rows)
	assert.Equal(t, []string{"SELECT 0, x FROM t WHERE name = ? AND id = ?\nUNION ALL\nSELECT 1, x FROM t WHERE name = ? AND id = ?",
		"SELECT 2, x FROM t WHERE name = ? AND id = ?"}, texts(calls))
	assert.Equal(t, []any{"a", int64(1), "b", int64(2)}, calls[0].Args)
	calls = o.calls(single, rows)
	require.Len(t, calls, 3)
	assert.Equal(t, "SELECT ?, x FROM t WHERE name = ? AND id = ?", calls[2].Text, "one text, to be prepared once")
	assert.Equal(t, []any{int64(2), "c", int64(3)}, calls[2].Args)
}

// recorder is an engine that keeps what it is sent.
type recorder struct{ sent [][]string }

func (*recorder) Dialect() *Dialect                     { return marked }
func (r *recorder) Begin(context.Context) (Conn, error) { return r, nil }
func (*recorder) Read(context.Context, ...*Call) error  { return nil }
func (*recorder) Trouble(error) Trouble                 { return Other }
func (*recorder) Close() error                          { return nil }
func (*recorder) Rollback()                             {}

func (r *recorder) Send(_ context.Context, calls []*Call, _ bool) error {
	r.sent = append(r.sent, texts(calls))
	return nil
}

// TestWritesGoTogether: rows of several visits share a statement, and each visit's statements keep their order.
func TestWritesGoTogether(t *testing.T) {
	first := newOp("id", "INSERT INTO first (id) {values :id}")
	second := newOp("id", "INSERT INTO second (id) {values :id}")
	once := newOp("id", "INSERT INTO once (id) {values :id}").onceEach()
	r := &recorder{}
	db := &DB{engine: r, dialect: marked}
	require.NoError(t, db.update(t.Context(), func(tx *tx) error {
		var a, b, c turn
		for _, v := range []*turn{&a, &b} {
			tx.write(v, first, 1)
			tx.write(v, second, 2)
			tx.write(v, once, 3)
			tx.write(v, once, 4)
		}
		tx.write(&c, second, 5) // the other way round
		tx.write(&c, first, 6)
		return nil
	}))
	assert.Equal(t, [][]string{{
		"INSERT INTO first (id) VALUES (?), (?)",
		"INSERT INTO second (id) VALUES (?), (?), (?)",
		"INSERT INTO once (id) VALUES (?), (?)",
		"INSERT INTO once (id) VALUES (?), (?)",
		"INSERT INTO first (id) VALUES (?)",
	}}, r.sent, "all in one round trip, with the commit")
}
