package storage_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/storage"
)

func sealer(t *testing.T, keys ...[]byte) storage.Sealer {
	t.Helper()
	s, err := storage.NewAESGCM(keys...)
	require.NoError(t, err)
	return s
}

func TestSealAndOpen(t *testing.T) {
	s := sealer(t, storage.GenerateKey())
	for _, plain := range [][]byte{nil, {}, []byte("x"), bytes.Repeat([]byte("secret"), 10_000)} {
		sealed, err := s.Seal(plain, []byte("row 1"))
		require.NoError(t, err)
		again, err := s.Seal(plain, []byte("row 1"))
		require.NoError(t, err)
		assert.NotEqual(t, sealed, again, "the same value is not seen to be the same")
		opened, err := s.Open(sealed, []byte("row 1"))
		require.NoError(t, err)
		assert.True(t, bytes.Equal(plain, opened))
		_, err = s.Open(sealed, []byte("row 2"))
		require.ErrorIs(t, err, storage.ErrSealed, "a sealed value cannot be moved")
	}
}

func TestOpenRefusesWhatWasChanged(t *testing.T) {
	s := sealer(t, storage.GenerateKey())
	sealed, err := s.Seal([]byte("secret"), nil)
	require.NoError(t, err)
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		_, err := s.Open(changed, nil)
		require.ErrorIs(t, err, storage.ErrSealed, "byte %d", i)
		_, err = s.Open(sealed[:i], nil)
		require.ErrorIs(t, err, storage.ErrSealed, "cut at %d", i)
	}
}

func TestKeyRotation(t *testing.T) {
	old, fresh := storage.GenerateKey(), storage.GenerateKey()
	before, err := sealer(t, old).Seal([]byte("secret"), nil)
	require.NoError(t, err)
	both := sealer(t, fresh, old)
	opened, err := both.Open(before, nil)
	require.NoError(t, err)
	assert.Equal(t, "secret", string(opened))
	after, err := both.Seal([]byte("secret"), nil)
	require.NoError(t, err)
	_, err = sealer(t, fresh).Open(after, nil)
	require.NoError(t, err, "the first key seals")
	_, err = sealer(t, fresh).Open(before, nil)
	require.ErrorIs(t, err, storage.ErrSealed)
}

func TestKeysAreChecked(t *testing.T) {
	for _, keys := range [][][]byte{nil, {{}}, {make([]byte, 16)}, {storage.GenerateKey(), nil}} {
		_, err := storage.NewAESGCM(keys...)
		require.Error(t, err)
	}
}

func FuzzOpen(f *testing.F) {
	key := bytes.Repeat([]byte{7}, storage.KeySize)
	f.Add([]byte("anything"), []byte("row"))
	f.Fuzz(func(t *testing.T, sealed, associated []byte) {
		s, err := storage.NewAESGCM(key)
		require.NoError(t, err)
		_, err = s.Open(sealed, associated)
		require.ErrorIs(t, err, storage.ErrSealed)
	})
}

func ExampleNewAESGCM() {
	s, err := storage.NewAESGCM(storage.GenerateKey()) // in production: from your secret store
	if err != nil {
		fmt.Println(err)
		return
	}
	sealed, _ := s.Seal([]byte("unlock token"), []byte("secrets/UDID"))
	opened, err := s.Open(sealed, []byte("secrets/UDID"))
	fmt.Println(string(opened), err)
	_, err = s.Open(sealed, []byte("secrets/ANOTHER"))
	fmt.Println(err)
	// Output:
	// unlock token <nil>
	// storage: cannot open what is sealed
}
