package dep

import (
	"context"
	"errors"
	"time"
)

// Enlist makes a new server with a key pair, whose certificate is uploaded at Apple. If there is one of that key, it returns
// that: its key pair also reads the tokens to come.
func Enlist(ctx context.Context, store Store, key Key, now time.Time) (Server, error) {
	if v, err := store.Server(ctx, key); err == nil {
		return v, nil
	}
	pair, err := NewKeyPair(key.Name, now)
	if err != nil {
		return Server{}, err
	}
	v := Server{Key: key, KeyPair: pair, AddedAt: now}
	if err := store.CreateServer(ctx, v); err != nil {
		if there, again := store.Server(ctx, key); again == nil {
			return there, nil // another replica's
		}
		return Server{}, err
	}
	return v, nil
}

// Import takes the token that was downloaded from Apple for a server: its first one, or one that goes on when the old one ends. A
// token for another server at Apple is refused with ErrOtherServer, unless other says that this is meant: then all devices
// are fetched anew, and those of the server before count as gone where the new one has them not.
func Import(ctx context.Context, store Store, key Key, p7m []byte, other bool, now time.Time) (Server, error) {
	v, err := store.Server(ctx, key)
	if err != nil {
		return Server{}, err
	}
	token, err := ReadToken(p7m, v.KeyPair)
	if err == nil {
		err = token.Check(now)
	}
	if err != nil {
		return Server{}, err
	}
	return store.ChangeServer(ctx, key, func(v *Server) error {
		switch err := token.Replaces(v.Token); {
		case errors.Is(err, ErrOtherServer) && other:
			v.Account, v.Profile, v.Profiles, v.Judge = Account{}, "", nil, Judge{}
			v.Era++
			v.Sync.restart(now)
		case err != nil:
			return err
		}
		v.Token, v.Sync.NotBefore = token, time.Time{} // Stopped stays until a call succeeds, which is told then
		return nil
	})
}
