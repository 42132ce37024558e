package command_test

import (
	"crypto/pbkdf2"
	"crypto/sha512"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

func TestHashPassword(t *testing.T) {
	t.Parallel()
	sealed, err := command.HashPassword(mdm.SecretString("correct horse"))
	require.NoError(t, err)
	var hash command.PasswordHash
	wrong, err := schema.DecodePlist(sealed.Reveal(), &hash)
	require.NoError(t, err)
	assert.Empty(t, wrong)
	h := hash.SALTEDSHA512PBKDF2
	assert.Len(t, h.Salt, 32)
	assert.GreaterOrEqual(t, h.Iterations, int64(20_000), "Apple's least")
	want, err := pbkdf2.Key(sha512.New, "correct horse", h.Salt, int(h.Iterations), 128)
	require.NoError(t, err)
	assert.Equal(t, want, h.Entropy)

	again, err := command.HashPassword(mdm.SecretString("correct horse"))
	require.NoError(t, err)
	assert.False(t, again.Equal(sealed), "a new salt each time")
	_, err = command.HashPassword(mdm.Secret{})
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))

	_, item := prepared(t, command.Order{Command: command.SetAutoAdminPassword{GUID: "G", PasswordHash: sealed}})
	assert.Equal(t, sealed.Reveal(), decoded(t, item.Body)["Command"].(dict)["passwordHash"])
}
