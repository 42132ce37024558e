package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/storage/internal/dbtest"
	"github.com/gomdm/applemdm/storage/internal/sqlstore"
)

var errLost = errors.New("the connection was lost")

// lossy is an engine whose next answers to commits are lost.
type lossy struct {
	sqlstore.Engine
	losses int
}

func (e *lossy) Begin(ctx context.Context) (sqlstore.Conn, error) {
	c, err := e.Engine.Begin(ctx)
	return &lossyConn{Conn: c, engine: e}, err
}

func (e *lossy) Trouble(err error) sqlstore.Trouble {
	if errors.Is(err, errLost) {
		return sqlstore.Passing
	}
	return e.Engine.Trouble(err)
}

type lossyConn struct {
	sqlstore.Conn
	engine *lossy
	over   bool
}

func (c *lossyConn) Send(ctx context.Context, calls []*sqlstore.Call, commit bool) error {
	err := c.Conn.Send(ctx, calls, commit)
	if err == nil && commit && c.engine.losses > 0 {
		c.engine.losses--
		c.over = true
		return errLost
	}
	return err
}

func (c *lossyConn) Rollback() {
	if !c.over {
		c.Conn.Rollback()
	}
}

// TestLostAnswerToASession: a session that was written although nobody learned of it is no reason to refuse its caller.
func TestLostAnswerToASession(t *testing.T) {
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "mdm.db"), nil)
	require.NoError(t, err)
	engine := &lossy{Engine: db.engine}
	store := sqlstore.New(engine, sqlstore.Config{Sealer: dbtest.Sealer()})
	defer store.Close()
	s := enroll.Session{ID: "a", Kind: "ota", State: enroll.SessionOpen, Device: map[string]string{"UDID": "x"}}
	engine.losses = 1
	require.NoError(t, store.CreateEnrollmentSession(t.Context(), s))
	require.Zero(t, engine.losses)
	got, err := store.EnrollmentSession(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, s, got)
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(store.CreateEnrollmentSession(t.Context(), s)), "another caller is refused")

	engine.losses = 1
	got, err = store.ChangeEnrollmentSession(t.Context(), "a", func(s *enroll.Session) error {
		s.State = enroll.SessionIdentified
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, enroll.SessionIdentified, got.State)
}

// TestLostAnswerToAServer is the same for servers: they are made once, and a page that is kept again finds what it wrote.
func TestLostAnswerToAServer(t *testing.T) {
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "mdm.db"), nil)
	require.NoError(t, err)
	engine := &lossy{Engine: db.engine}
	store := sqlstore.New(engine, sqlstore.Config{Sealer: dbtest.Sealer()})
	defer store.Close()
	s := dep.Server{Key: dep.Key{Name: "a"}, KeyPair: dep.KeyPair{Key: mdm.SecretString("key")}}
	engine.losses = 1
	require.NoError(t, store.CreateServer(t.Context(), s))
	require.Zero(t, engine.losses)
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(store.CreateServer(t.Context(), s)), "another caller is refused")
	engine.losses = 1
	var known []int
	require.NoError(t, store.Keep(t.Context(), s.Key, []string{"C02"}, func(_ *dep.Server, now map[string]*dep.Record) (dep.Kept, error) {
		known = append(known, len(now))
		return dep.Kept{Records: []dep.Record{{Server: s.Key, Serial: "C02"}}}, nil
	}))
	assert.Equal(t, []int{0, 1}, known)
	engine.losses = 1
	require.NoError(t, store.DeleteServer(t.Context(), s.Key))
	_, err = store.Server(t.Context(), s.Key)
	assert.Equal(t, mdm.NotFound, mdm.CodeOf(err))
}
