package refusal_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/refusal"
	"github.com/gomdm/applemdm/mdm"
)

func TestStatus(t *testing.T) {
	assert.Equal(t, 200, refusal.Status(nil))
	assert.Equal(t, 500, refusal.Status(errors.New("x")))
	for code, status := range map[mdm.Code]int{mdm.Internal: 500, mdm.Unavailable: 503, mdm.Malformed: 400, mdm.TooLarge: 413, mdm.Forbidden: 403,
		mdm.NotFound: 403, mdm.UserDeclined: 403, mdm.Unmanaged: 403} {
		assert.Equal(t, status, refusal.Status(mdm.Errorf(code, "test", "x")), code)
	}
}

func TestOurs(t *testing.T) {
	require.NoError(t, refusal.Ours("op", nil))
	for code, want := range map[mdm.Code]mdm.Code{mdm.Malformed: mdm.Internal, mdm.TooLarge: mdm.Internal, mdm.Forbidden: mdm.Forbidden,
		mdm.Unavailable: mdm.Unavailable} {
		assert.Equal(t, want, mdm.CodeOf(refusal.Ours("op", mdm.Errorf(code, "hook", "x"))), code)
	}
}
