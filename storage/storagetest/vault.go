package storagetest

import (
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
)

func vaultCases() []testCase {
	return []testCase{
		{name: "stored, replaced, deleted",
			why: "storage.Vault: PutSecret stores in place of a former one; a zero Secret deletes it; Secret returns a zero one if there is none",
			run: vaultSecrets},
		{name: "created once",
			why: "storage.Vault: CreateSecret stores only if there is none of that name, and returns the one that is stored then",
			run: vaultCreate},
		{name: "replicas that start together agree",
			why: "storage.Vault: two CA keys in one fleet would be the end of it",
			run: vaultRace},
	}
}

func (w *world) secret(name string) string {
	w.Helper()
	s, err := w.Vault.Secret(w.Context(), name)
	require.NoError(w, err)
	return string(s.Reveal())
}

func vaultSecrets(w *world) {
	assert.Empty(w, w.secret("a"))
	require.NoError(w, w.Vault.PutSecret(w.Context(), "a", mdm.Secret{}), "deleting what is not there")
	require.NoError(w, w.Vault.PutSecret(w.Context(), "a", mdm.SecretString("one")))
	require.NoError(w, w.Vault.PutSecret(w.Context(), "A", mdm.SecretString("other")))
	assert.Equal(w, "one", w.secret("a"))
	assert.Equal(w, "other", w.secret("A"))
	require.NoError(w, w.Vault.PutSecret(w.Context(), "a", mdm.SecretString("two")))
	assert.Equal(w, "two", w.secret("a"))
	require.NoError(w, w.Vault.PutSecret(w.Context(), "a", mdm.Secret{}))
	assert.Empty(w, w.secret("a"))
	assert.Equal(w, "other", w.secret("A"))
}

func vaultCreate(w *world) {
	for _, offered := range []string{"one", "two"} {
		got, err := w.Vault.CreateSecret(w.Context(), "ca", mdm.SecretString(offered))
		require.NoError(w, err)
		assert.Equal(w, "one", string(got.Reveal()))
	}
	require.NoError(w, w.Vault.PutSecret(w.Context(), "ca", mdm.Secret{}))
	got, err := w.Vault.CreateSecret(w.Context(), "ca", mdm.SecretString("three"))
	require.NoError(w, err)
	assert.Equal(w, "three", string(got.Reveal()), "after a deletion the name is free")
}

func vaultRace(w *world) {
	handles := []*world{w, w.again()}
	const n = 12
	got := make([]string, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			s, err := handles[i%2].Vault.CreateSecret(w.Context(), "ca", mdm.SecretString(numbered("key ", i)))
			assert.NoError(w, err)
			got[i] = string(s.Reveal())
		})
	}
	group.Wait()
	stored := w.secret("ca")
	require.NotEmpty(w, stored)
	for _, s := range got {
		assert.Equal(w, stored, s)
	}
}
